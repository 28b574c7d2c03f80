"""A Panoptic FPN learns things and stuff of its user, and is evaluated by PQ on the way."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from harness import load_model
from harness.core.requests.loading import ServeRequest
from harness.data.categories import COCO_STUFF
from harness.serve.server import find_served
from harness.zoo.weights import read_checkpoint
from tests.composing import composed
from tests.end_to_end.conftest import Answer
from tests.end_to_end.killing import require_same_bytes_after_a_kill
from tests.panoptic_data import write_panoptic_data

MODEL = "panoptic_fpn_R_50_1x"
IMAGES = 2


@pytest.fixture
def data(project: Path, embedded_root: Path) -> tuple[str, ...]:
    """Options of a data set with two kinds of stuff, which is learned and evaluated."""
    images = write_panoptic_data(project, images=IMAGES, root=embedded_root)
    path = project / "panoptic.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    kinds = [one for one in content["categories"] if not one["isthing"]][:2]
    stuff = {one["id"] for one in content["categories"] if not one["isthing"]}
    content["categories"] = [one for one in content["categories"] if one["isthing"]] + kinds
    for row in content["annotations"]:
        for number, segment in enumerate(row["segments_info"]):
            if segment["category_id"] in stuff:
                segment["category_id"] = kinds[number % 2]["id"]
    path.write_text(json.dumps(content), "utf-8")
    return (
        *("--model", MODEL, "--init", "none", "--short-edge", "64", "--rois-per-image", "16"),
        *("--batch-size", "2", "--iterations", "1", "--device", "cpu", "--deterministic"),
        *("--train-annotations", "instances.json", "--train-images", str(images)),
        *("--val-annotations", "instances.json", "--val-images", str(images)),
    )


PANOPTIC = ("--train-panoptic", "panoptic.json", "--val-panoptic", "panoptic.json")


@pytest.mark.slow
def test_things_and_stuff_of_ones_own_are_learned_and_measured(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    answer = harness("train", *data, *PANOPTIC, "--output", "run", "--json")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    for name in ("panoptic_seg/PQ", "sem_seg/mIoU"):
        assert record["metrics"][name] is not None
        assert name in record["resolved"]["summary"]["last"]
    assert record["resolved"]["panoptic_sha256"] == record["dataset"]["panoptic"]["digest"]
    text = (project / "run" / "metrics.json").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert any("loss_sem_seg" in line for line in lines)
    assert any("validation/loss_sem_seg" in line for line in lines)
    weights = read_checkpoint(project / "run" / "model_last.safetensors")
    assert len(weights["sem_seg_head.predictor.bias"]) == 3  # things and two kinds of stuff
    # What it says to type next measures the same weights with the same numbers.
    command = next(one for one in record["resolved"]["summary"]["next_commands"] if " eval " in one)
    assert "--panoptic" in command
    again = harness(*shlex.split(command)[1:], "--device", "cpu", "--output", "again", "--json")
    assert again.code == 0, again.err
    for name, value in json.loads(again.out)["metrics"].items():
        if "/" in name and "throughput" not in name:
            assert value == record["metrics"][name], name


@pytest.mark.slow
def test_stuff_of_ones_own_is_found_in_images_alone(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    """Its names are known by the training beside the weights, or by the panoptic file."""
    answer = harness("train", *data, *PANOPTIC, "--output", "run", "--json")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    commands = [shlex.split(one)[1:] for one in record["resolved"]["summary"]["next_commands"]]
    (drawn,) = (one for one in commands if one[0] == "predict")
    (served,) = (one for one in commands if one[0] == "serve")
    assert "--panoptic" in drawn
    assert "--panoptic" in served
    small = ("--device", "cpu", "--short-edge", "64")
    answer = harness(*drawn, *small, "--output", "drawn")
    assert answer.code == 0, answer.err
    assert stuff_in(project / "drawn") == OWN_STUFF
    (project / "apart").mkdir()
    moved = shutil.copy(project / "run" / "model_last.safetensors", project / "apart")
    words = ("predict", drawn[1], "--model", MODEL, *small)
    answer = harness(*words, "--weights", moved, "--output", "stated")
    assert answer.code == 0, answer.err
    assert stuff_in(project / "stated") == OWN_STUFF
    save_file(load_file(moved), moved)  # as other programs write it: without what it states
    answer = harness(*words, "--weights", moved, "--output", "unknown")
    assert answer.code == 4, answer.out
    assert "sem_seg_head.predictor.weight: expected (54, " in answer.err
    assert "--panoptic FILE says what kinds of stuff" in answer.err
    answer = harness(*words, "--weights", moved, "--panoptic", "panoptic.json", "--output", "named")
    assert answer.code == 0, answer.err
    assert stuff_in(project / "named") == OWN_STUFF
    (image, *_) = sorted(Path(drawn[1]).iterdir())
    with load_model("run", device="cpu") as model:
        (found,) = model.predict(str(image))
    assert found.panoptic is not None
    assert [one.name for one in found.panoptic.stuff] == OWN_STUFF
    request = composed(
        ServeRequest, model=MODEL, weights=project / "run" / "model_last.safetensors"
    )
    for asked in (request, replace(request, panoptic=project / "panoptic.json")):
        assert [one.name for one in find_served(asked).stuff] == OWN_STUFF
    answer = harness("show", "run/evaluations/iteration-0000001", "--task", "panoptic_seg")
    assert answer.code == 0, answer.err


#: Names of the two kinds of stuff of the data set; COCO's, in a list that is not COCO's.
OWN_STUFF = [one.name for one in COCO_STUFF[:2]]


def stuff_in(run: Path) -> list[str]:
    """Names of the kinds of stuff that a run's maps list."""
    content = json.loads((run / "panoptic.json").read_text("utf-8"))
    return [one["name"] for one in content["categories"] if not one["isthing"]]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bytes(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    require_same_bytes_after_a_kill(harness, project, (*data, *PANOPTIC))


def test_kinds_of_stuff_that_the_weights_do_not_know_are_refused(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    images = data[data.index("--train-images") + 1]
    for model, says in (
        (MODEL, "know 53 kinds of stuff, panoptic.json lists 2"),
        ("R_50_FPN_1x", "makes no maps of segments, which panoptic.json has"),
    ):
        words = ("--model", model, "--panoptic", "panoptic.json")
        for command in (("predict", images), ("serve",), ("export",)):
            answer = harness(*command, *words)
            assert answer.code in (2, 4), answer.err
            assert says in answer.err, command


@pytest.mark.slow
def test_a_retraining_is_planned_before_anything_is_there(
    harness: Callable[..., Answer], project: Path
) -> None:
    asked = ("--model", MODEL, "--dry-run", "--batch-size", "1", "--short-edge", "64")
    answer = harness("train", *asked, "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["schedule"]["iterations"] == 16 * 90_000
    assert found["s_per_iteration"] > 0
    assert any("coco_2017_train_panoptic_separated" in one for one in found["missing"])
    assert "train,annotations,panoptic_train,val,panoptic,backbones" in found["fetch"]


def test_what_is_missing_says_which_file_and_where_from(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    for code, words, says in (
        (4, (), "learns panoptic annotations, too"),
        (4, PANOPTIC[:2], "--val-panoptic FILE"),
        (2, ("--train-panoptic-masks", "panoptic"), "goes with --train-panoptic"),
        (2, ("--model", "R_50_FPN_1x", *PANOPTIC), "makes no maps of segments"),
        (2, (*PANOPTIC, "--engine", "detectron2"), "the native engine has Detectron2's losses"),
    ):
        answer = harness("train", *data, *words, "--output", "none")
        assert answer.code == code, answer.err
        assert says in answer.err
    (project / "half.json").write_text('{"categories": [')
    for option in ("--train-annotations", "--train-panoptic"):
        words = (*PANOPTIC, "--init", "zoo", option, "half.json")
        if option == "--train-panoptic":
            words = (*words, "--train-panoptic-masks", "panoptic")
        answer = harness("train", *data, *words, "--dry-run")  # of which the weights are missing
        assert answer.code == 4, answer.err
        assert "half.json is not JSON" in answer.err
    (project / "panoptic" / "000002.png").unlink()
    answer = harness("train", *data, *PANOPTIC, "--output", "none")
    assert answer.code == 4
    assert "1 of 2 panoptic PNGs are missing" in answer.err
    assert "--train-panoptic-masks" in answer.err
    assert "2017" not in answer.err
    words = ("--train-images", str(project), "--train-panoptic", "panoptic.json")
    answer = harness("train", *data, *PANOPTIC, *words, "--output", "none")
    assert answer.code == 4
    assert "check --train-images" in answer.err
    answer = harness("train", "--model", MODEL, "--output", "none")
    assert answer.code == 3
    assert "coco_2017_train_panoptic_separated" in answer.err
    assert "--only train,annotations,panoptic_train,val,panoptic,backbones" in answer.err
