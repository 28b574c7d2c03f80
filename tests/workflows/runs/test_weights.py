"""The weights of a run are found by their hash, wherever a training has put them since."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import IntegrityError
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import RecipeOverrides
from harness.files.digest import file_digest
from harness.workflows.runs.weights import completed, weights_of


def test_the_weights_of_an_evaluation_in_a_training(tmp_path: Path) -> None:
    last, best = tmp_path / "model_last.safetensors", tmp_path / "model_best.safetensors"
    last.write_bytes(b"of iteration 240")
    facts = CheckpointFacts(path=str(last), sha256=file_digest(last), bytes=16, pinned=False)
    assert weights_of(facts) == last
    best.write_bytes(last.read_bytes())
    last.write_bytes(b"of iteration 300")
    assert weights_of(facts) == best
    best.write_bytes(b"of iteration 270")
    with pytest.raises(IntegrityError, match="no longer there"):
        weights_of(facts)


def test_sizes_that_are_not_asked_for_are_those_of_a_run() -> None:
    known = RecipeOverrides(short_edge_px=96, long_edge_max_px=160)
    assert completed(RecipeOverrides(), known) == known
    asked = completed(RecipeOverrides(short_edge_px=128), known)
    assert (asked.short_edge_px, asked.long_edge_max_px) == (128, 160)
