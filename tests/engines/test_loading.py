"""Weights that another program writes to between their proof and their loading."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
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


def written_in_place(path: Path) -> None:
    """Write the same bytes again; what is loaded while that goes on may have half of them."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content)
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))  # clocks of files are coarse


def replaced_file(path: Path) -> None:
    """Put another file in its place, as a program does that writes a new one and renames it."""
    new = Path(shutil.copy(path, path.with_name("new")))
    os.utime(new, ns=(0, path.stat().st_mtime_ns + 1))  # clocks of files are coarse
    new.replace(path)


def removed_file(path: Path) -> None:
    """Leave nothing."""
    path.unlink()


@pytest.mark.parametrize("change", [written_in_place, replaced_file])
def test_weights_that_changed_after_their_proof_are_not_used(
    weights: Path, change: Callable[[Path], None]
) -> None:
    model = proven(weights)
    open_proven(model, OPTIONS).close()
    change(weights)
    with pytest.raises(IntegrityError, match=SAID) as refused:
        open_proven(model, OPTIONS)
    assert "make a copy" in str(refused.value.hint)


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


def test_an_engine_that_is_refused_is_closed(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Opened:
        def close(self) -> None:
            closed.append("yes")

    monkeypatch.setattr("harness.engines.loading.open_engine", lambda *_, **__: Opened())
    model = proven(weights)
    stale = replace(model, file=model.file._replace(state=((0, 0),)))
    with pytest.raises(IntegrityError, match=SAID):
        open_proven(stale, OPTIONS)
    assert closed == ["yes"]
