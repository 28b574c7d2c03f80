"""Weights that another program writes to between their proof and their loading."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import IntegrityError
from harness.core.requests.inference import EngineOptions, ModelSpec, RecipeOverrides
from harness.engines.loading import ProvenModel, open_proven, prove_model
from harness.zoo.checkpoints import EMBEDDED, require_state, weights_digest, weights_state

OPTIONS = EngineOptions(device="cpu", threads=1)
SAID = "written to or replaced since it was hashed"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the embedded weights."""
    return Path(shutil.copy(EMBEDDED / "tiny.safetensors", tmp_path / "own.safetensors"))


def proven(weights: Path) -> ProvenModel:
    """The embedded model with a file of weights."""
    spec = ModelSpec(model="tiny", weights=weights)
    return prove_model(spec, OPTIONS, annotations=None, recipe=RecipeOverrides())


def later(path: Path) -> None:
    """Give a file another time; clocks of files are coarse."""
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def written_in_place(path: Path) -> None:
    """Change the last byte, as a program does that writes into a file."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[:-1] + bytes([content[-1] ^ 1]))
    later(path)


def replaced_file(path: Path) -> None:
    """Put another file in its place, as a program does that writes a new one and renames it."""
    new = Path(shutil.copy(path, path.with_name("new")))
    written_in_place(new)
    new.replace(path)


def removed_file(path: Path) -> None:
    """Leave nothing."""
    path.unlink()


class Opened:
    """An engine that says when it is closed."""

    closed = 0

    def close(self) -> None:
        Opened.closed += 1


def touching(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], *, times: int
) -> list[Path]:
    """Let a file be changed each of the first times that it is opened; return what was opened."""
    opened: list[Path] = []

    def open_engine(*_: object, weights: Path, **__: object) -> Opened:
        opened.append(weights)
        if len(opened) <= times:
            change(weights)
        return Opened()

    monkeypatch.setattr("harness.engines.loading.open_engine", open_engine)
    monkeypatch.setattr(Opened, "closed", 0)
    return opened


@pytest.mark.parametrize("change", [written_in_place, replaced_file, removed_file])
def test_weights_that_change_after_their_proof_are_not_used(
    weights: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = touching(monkeypatch, change, times=1)
    with pytest.raises(IntegrityError, match=SAID) as refused:
        open_proven(proven(weights), OPTIONS)
    assert "make a copy" in str(refused.value.hint)
    assert "expected" in refused.value.message
    assert (len(opened), Opened.closed) == (1, 1)


def test_weights_of_another_time_with_the_same_content_are_loaded_again(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = touching(monkeypatch, later, times=2)
    open_proven(proven(weights), OPTIONS)
    assert (len(opened), Opened.closed) == (3, 2)


def test_weights_that_something_writes_all_the_time_are_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touching(monkeypatch, later, times=100)
    with pytest.raises(IntegrityError, match=SAID):
        open_proven(proven(weights), OPTIONS)
    assert Opened.closed == 3


def test_weights_that_rest_are_loaded_once(weights: Path) -> None:
    engine = open_proven(proven(weights), OPTIONS)
    assert engine.info.name == "native"
    engine.close()


def test_a_hash_of_a_file_that_is_written_to_meanwhile_is_none(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturbed(path: Path) -> str:
        written_in_place(path)
        return "a hash of neither content"

    monkeypatch.setattr("harness.zoo.checkpoints.file_digest", disturbed)
    with pytest.raises(IntegrityError, match=SAID):
        weights_digest(weights)


@pytest.mark.parametrize("change", [written_in_place, replaced_file, removed_file])
def test_each_file_that_an_index_names_is_watched(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    index = tmp_path / "own.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}')
    for number in (1, 2):
        (tmp_path / f"{number}.safetensors").write_bytes(b"numbers")
    state = weights_state(index)
    require_state(index, state)
    change(tmp_path / "2.safetensors")
    with pytest.raises(IntegrityError, match=SAID):
        require_state(index, state)
