"""``config.toml`` means the same wherever it is, and so does a request that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import UsageError
from harness.core.requests.inference import EvalRequest
from harness.core.requests.pictures import PredictRequest
from harness.core.requests.training import TrainRequest
from harness.core.settings import compose, flat_settings, flatten
from harness.files.toml import config_text, read_config
from harness.workflows.runs.files import absolute


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file and with folders that are called like words of --init."""
    folder = tmp_path / "here"
    for name in ("photos", "zoo", "none", "imagenet"):
        (folder / name).mkdir(parents=True)
    (folder / "begin.pth").write_bytes(b"")
    monkeypatch.chdir(folder)
    return folder


def _request(kind: type[Any], **values: Any) -> Any:
    return compose(kind, {"paths": ("x.jpg",), **values} if kind is PredictRequest else values)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (PredictRequest, "paths", ("a.jpg", "photos", "photos/*.jpg")),
        (PredictRequest, "root", Path("data")),
        (TrainRequest, "init", "begin.pth"),
        (TrainRequest, "train_annotations", Path("boxes.json")),
    ],
)
def test_a_relative_path_is_that_of_the_folder_it_was_typed_in(
    kind: type[Any], name: str, value: Any, here: Path, tmp_path: Path
) -> None:
    request = _request(kind, **{name: value})
    many = isinstance(value, tuple)
    expected = [str(here / one) for one in (value if many else (value,))]

    def texts(found: Any) -> list[str]:
        return [str(one) for one in (found if many else (found,))]

    assert texts(flatten(absolute(request))[name]) == expected
    file = tmp_path / "elsewhere" / "config.toml"
    file.parent.mkdir()
    file.write_text(config_text(request, command="x"), encoding="utf-8")
    again = read_config(file, flat_settings(kind), command="x").settings
    assert texts(again[name]) == expected


@pytest.mark.parametrize("word", ["zoo", "none", "imagenet"])
def test_a_word_stays_a_word_beside_a_folder_of_that_name(word: str, here: Path) -> None:
    request = _request(TrainRequest, init=word)
    assert flatten(absolute(request))["init"] == word
    assert f'init = "{word}"' in config_text(request, command="train")
    (here / "config.toml").write_text(f'init = "{word}"\n', encoding="utf-8")
    found = read_config(here / "config.toml", flat_settings(TrainRequest), command="train")
    assert found == ({"init": word}, {})


def test_a_file_of_another_editor_is_read_or_says_in_what_to_save_it(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbflimit = 3\r\n")
    known = flat_settings(EvalRequest)
    assert read_config(file, known, command="eval").settings == {"limit": 3}
    file.write_text("limit = 3\n", encoding="utf-16")
    with pytest.raises(UsageError, match="is not UTF-8: byte 0xff at position 0") as caught:
        read_config(file, known, command="eval")
    assert caught.value.hint == "save it as UTF-8, which TOML is written in"
