"""``--config``: settings from a file, and the file of a run that repeats it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.requests.inference import EvalRequest
from harness.core.settings import flat_settings


def test_a_run_is_repeated_from_its_own_file(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    asked = ["--engine", "fake", "--limit", "3", "--score-threshold", "0.1", *on_small]
    assert harness("eval", *asked, "--output", tmp_path / "run").code == 0
    config = tmp_path / "run" / "config.toml"
    answer = harness("eval", "--config", config, "--output", tmp_path / "again")
    assert answer.code == 0, answer.err
    runs = [tmp_path / name for name in ("run", "again")]
    first, second = ((run / "predictions.json").read_bytes() for run in runs)
    assert first == second
    assert config.read_bytes() == (tmp_path / "again" / "config.toml").read_bytes()
    requests = [json.loads((run / "record.json").read_text("utf-8"))["request"] for run in runs]
    assert requests[0]["inference"] == requests[1]["inference"]


def test_a_scoring_and_drawings_are_repeated_from_their_own_file(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert harness("eval", "--engine", "fake", *on_small, "--output", run).code == 0
    for command, words in {"score": ["--resamples", "0"], "show": ["--most", "1"]}.items():
        first, second = (tmp_path / f"{command}-{name}" for name in ("first", "second"))
        assert harness(command, run, *words, "--output", first).code == 0
        answer = harness(command, "--config", first / "config.toml", "--output", second)
        assert answer.code == 0, answer.err
        assert (first / "config.toml").read_bytes() == (second / "config.toml").read_bytes()
        names = [sorted(path.name for path in one.rglob("*")) for one in (first, second)]
        assert names[0] == names[1]


def test_options_win_over_the_file(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text('engine = "fake"\nlimit = 1\nrequire_reference = true\n', encoding="utf-8")
    words = ["--config", config, *on_small, "--limit", "2", "--no-require-reference", "--json"]
    answer = harness("eval", *words)
    assert answer.code == 0, answer.err
    request = json.loads(answer.out)["request"]
    assert request["inference"]["limit"] == 2
    assert request["inference"]["engine"] == "fake"
    assert request["require_reference"] is False


def test_relative_paths_are_relative_to_the_file(
    harness: Callable[..., Any], small_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_coco / "own.toml"
    config.write_text(
        'engine = "fake"\nannotations = "annotations.json"\nimages = "images"\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    answer = harness("eval", "--config", config, "--output", tmp_path / "run")
    assert answer.code == 0, answer.err


def test_weights_that_have_changed_are_not_taken_for_those_of_the_run(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    """As those of an evaluation inside a training, which goes on in the same file."""
    last, best = (tmp_path / f"model_{name}.safetensors" for name in ("last", "best"))
    last.write_bytes(b"of iteration 100")
    asked = ["--engine", "fake", *on_small, "--weights", last, "--output", tmp_path / "run"]
    assert harness("eval", *asked).code == 0
    config = tmp_path / "run" / "config.toml"

    def again(name: str, *more: str | Path) -> Any:
        return harness("eval", "--config", config, *more, "--output", tmp_path / name)

    def weights_of(name: str) -> str:
        record = json.loads((tmp_path / name / "record.json").read_text("utf-8"))
        return Path(record["request"]["inference"]["weights"]).name

    assert again("same").code == 0
    last.write_bytes(b"of iteration 200")
    refused = again("other")
    assert refused.code == 4
    assert f"{last} is no longer the file that {config} was written for" in refused.err
    assert "expected sha256" in refused.err
    assert not (tmp_path / "other").exists()
    # The command that the message ends with.
    assert f"add: --weights {last}" in refused.err
    assert again("given", "--weights", last).code == 0
    # Of the best evaluation a training keeps the weights in its other file.
    best.write_bytes(b"of iteration 100")
    assert again("best").code == 0
    assert (weights_of("same"), weights_of("best")) == (last.name, best.name)
    last.unlink()
    best.unlink()
    absent = again("absent")
    assert absent.code == 2
    assert f"no such checkpoint file: {last}" in absent.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limt = 3\n", "own.toml: unknown setting 'limt'; did you mean limit?"),
        ("limit = 0\n", "own.toml: --limit must be at least 1, got 0"),
        ('limit = "3"\n', "own.toml: --limit must be a whole number, got '3'"),
        ('engine = "natve"\n', "did you mean native?"),
        ("limit = \n", "own.toml is not TOML"),
        ("sha256 = 3\n", "own.toml: sha256 must be a table: [sha256]"),
        (
            '[sha256]\nweights = "00"\n',
            "own.toml: [sha256] has weights, and the file names no file in weights",
        ),
        (
            'weights = "a"\n[sha256]\nweights = 3\n',
            "own.toml: [sha256] weights must be a text of hexadecimal digits",
        ),
        (
            'command = "train"\n',
            "own.toml is a configuration of harness train, not of harness eval",
        ),
        (
            'command = ["eval"]\n',
            "own.toml: command must be the name of a command, not ['eval']",
        ),
    ],
)
def test_a_file_that_says_something_wrong(
    harness: Callable[..., Any], tmp_path: Path, text: str, message: str
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(text, encoding="utf-8")
    answer = harness("eval", "--config", config)
    assert answer.code == 2
    assert message in answer.err


def test_no_such_file(harness: Callable[..., Any], tmp_path: Path) -> None:
    answer = harness("eval", "--config", tmp_path / "none.toml")
    assert answer.code == 2
    assert "no such configuration file" in answer.err


def test_what_is_needed_may_come_from_the_file(
    harness: Callable[..., Any], small_coco: Path, tmp_path: Path
) -> None:
    config = tmp_path / "split.toml"
    file = small_coco / "annotations.json"
    config.write_text(
        f"file = {json.dumps(str(file))}\noutput = 'parts'\nfractions = [0.5, 0.5]\n", "utf-8"
    )
    answer = harness("data", "split", "--config", config)
    assert answer.code == 0, answer.err
    assert list((tmp_path / "parts").glob("*.json"))
    missing = harness("data", "split")
    assert missing.code == 2
    assert "required: file" in missing.err


def test_a_run_of_an_older_version_is_continued(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    """Its run.json knows fewer settings; they had their defaults."""
    run = tmp_path / "run"
    asked = ["--engine", "fake", *on_small]
    assert harness("eval", *asked, "--output", run).code == 0
    (run / "record.json").unlink()
    facts = json.loads((run / "run.json").read_text("utf-8"))
    assert set(facts["request"]["inference"]) <= {one.name for one in flat_settings(EvalRequest)}
    again = harness("eval", *asked, "--output", run, "--resume")
    assert again.code == 0, again.err
