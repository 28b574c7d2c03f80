"""The weights of a run are found by their hash, wherever a training has put them since.

The sizes of images they were trained for are found in the folder of the training.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import IntegrityError
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import RecipeOverrides
from harness.files.digest import file_digest
from harness.workflows.runs.weights import completed, sizes_of_training, weights_of
from tests.workflows.conftest import write_evaluation


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


def test_the_sizes_of_a_training_are_those_of_its_newest_evaluation(tmp_path: Path) -> None:
    weights, none = tmp_path / "model_best.safetensors", RecipeOverrides()
    assert sizes_of_training(weights) == none
    write_evaluation(tmp_path, 100, short_edge_px=64, long_edge_max_px=107)
    write_evaluation(tmp_path, 200, short_edge_px=96, long_edge_max_px=160)
    trained = RecipeOverrides(short_edge_px=96, long_edge_max_px=160)
    assert sizes_of_training(weights) == trained
    assert completed(none, trained) == trained
    asked = completed(RecipeOverrides(short_edge_px=128), trained)
    assert (asked.short_edge_px, asked.long_edge_max_px) == (128, 160)
    # Pinned weights have no folder, and an exported file in this one states its own.
    for other in (None, tmp_path / "mine.onnx", tmp_path / "mine.PT2"):
        assert sizes_of_training(other) == none
    write_evaluation(tmp_path, 300)
    assert sizes_of_training(weights) == none
