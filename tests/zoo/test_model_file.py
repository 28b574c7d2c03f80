"""Sizes of images that weights state are taken; what is asked for wins over them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.engine import EngineName
from harness.core.errors import IntegrityError, PrerequisiteError
from harness.core.requests.inference import ModelSpec, RecipeOverrides
from harness.zoo.architectures import tiny
from harness.zoo.exported import metadata_of
from harness.zoo.lock import find_model, read_lock
from harness.zoo.model_file import StatedSizes, stated_sizes, with_recipe
from tests.zoo.test_exported import facts, write

OWN = (288, 504)


def stated(weights: Path | None, engine: EngineName = "native", **asked: int) -> StatedSizes | None:
    """Sizes of tiny's weights; with them, and what is asked for, nothing else is changed."""
    recipe = RecipeOverrides(**asked)
    found = stated_sizes(
        tiny(),
        recipe,
        find_model(read_lock(), "tiny"),
        engine=engine,
        network=ModelSpec(weights=weights),
    )
    used = with_recipe(tiny(), recipe, found)
    short, long = OWN if found is None else found[:2]
    sizes = {"short_edge_px": short, "long_edge_max_px": long, **asked}
    assert used == replace(tiny(), **sizes)
    return found


def test_an_exported_file_states_its_own(tmp_path: Path) -> None:
    small = replace(tiny(), short_edge_px=96, long_edge_max_px=160, mask_threshold=0.7)
    path = write(tmp_path / "a.onnx", metadata_of(replace(facts(), architecture=small)))
    assert stated(path, "onnx") == (96, 160, path)
    assert stated(path, "onnx", short_edge_px=64) == (64, 160, path)
    assert stated(path, "onnx", short_edge_px=64, long_edge_max_px=107) is None
    assert stated(path) is None  # read as a checkpoint, in no folder of a training
    assert stated(write(tmp_path / "b.onnx", metadata_of(facts())), "onnx") is None
    with pytest.raises(PrerequisiteError, match="not exported"):
        stated(tmp_path / "none.onnx", "onnx")


def test_sizes_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    for sizes, found in (
        ({"short_edge_px": 96, "long_edge_max_px": 10**9}, 10**9),
        ({"short_edge_px": 20_001}, 20_001),
    ):
        large = replace(tiny(), **sizes)
        path = write(tmp_path / "a.onnx", metadata_of(replace(facts(), architecture=large)))
        said = rf"a\.onnx states that images are resized to an edge of {found} px; allowed are 1 to"
        with pytest.raises(IntegrityError, match=said):
            stated(path, "onnx")
    asked = {"kind": "train", "request": {"short_edge_px": 10**400}}
    (tmp_path / "run.json").write_text(json.dumps(asked), encoding="utf-8")
    with pytest.raises(IntegrityError, match="allowed are 1 to 20,000"):
        stated(tmp_path / "model_best.safetensors")


def test_the_training_beside_weights_states_those_it_was_asked_for(tmp_path: Path) -> None:
    weights, run = tmp_path / "model_best.safetensors", tmp_path / "run.json"
    assert stated(weights) is stated(None) is None

    def write_run(kind: str, **asked: object) -> None:
        run.write_text(json.dumps({"kind": kind, "request": asked}), encoding="utf-8")

    for engine in ("native", "detectron2", "torchvision"):
        write_run("train", short_edge_px=96)
        assert stated(weights, engine) == (96, 168, tmp_path)
        assert stated(weights, engine, long_edge_max_px=200) == (96, 200, tmp_path)
        assert stated(weights, engine, short_edge_px=288, long_edge_max_px=504) is None
    assert stated(weights, "fake") is None  # which looks at no pixel
    for asked in ({"short_edge_px": None}, {"short_edge_px": OWN[0]}, {}):
        write_run("train", **asked)
        assert stated(weights) is None
    write_run("eval", short_edge_px=96)
    assert stated(weights) is None


def test_what_is_said_names_file_and_sizes() -> None:
    said = StatedSizes(96, 168, Path("run")).sentence
    assert said == ("images are resized as run states: short edge 96 px, long edge at most 168 px")
