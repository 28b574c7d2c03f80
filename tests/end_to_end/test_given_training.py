"""A Fast R-CNN learns from region proposals of a file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Answer
from tests.end_to_end.killing import require_same_bytes_after_a_kill

MODEL = "fast_rcnn_R_50_FPN_1x"
IMAGES = 2


@pytest.fixture
def data(project: Path, embedded_folder: Path) -> tuple[str, ...]:
    """Options of a small data set; ``regions.json`` has its boxes, and others of the same size."""
    content: dict[str, Any] = json.loads((embedded_folder / "annotations.json").read_text("utf-8"))
    content["images"] = content["images"][:IMAGES]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in kept]
    (project / "own.json").write_text(json.dumps(content), "utf-8")
    regions = [
        {
            "image_id": row["image_id"],
            "category_id": content["categories"][0]["id"],
            "bbox": [shift * row["bbox"][0], *row["bbox"][1:]],
            "score": shift,
        }
        for row in content["annotations"]
        for shift in (1.0, 0.5)
    ]
    (project / "regions.json").write_text(json.dumps(regions), "utf-8")
    images = str(embedded_folder / "images")
    return (
        *("--model", MODEL, "--init", "none", "--short-edge", "64", "--rois-per-image", "16"),
        *("--batch-size", "2", "--iterations", "1", "--device", "cpu"),
        *("--train-annotations", "own.json", "--train-images", images),
        *("--val-annotations", "own.json", "--val-images", images),
    )


GIVEN = ("--train-proposals", "regions.json", "--val-proposals", "regions.json")


@pytest.mark.slow
def test_regions_of_a_file_are_learned_from(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    answer = harness("train", *data, *GIVEN, "--output", "run", "--json")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    assert len(record["resolved"]["proposals_sha256"]) == 64
    lines = [
        json.loads(one) for one in (project / "run" / "metrics.json").read_text().split("\n") if one
    ]
    assert any("loss_box_reg" in line and "loss_rpn_cls" not in line for line in lines)
    assert any("validation/loss_cls" in line for line in lines)
    commands = record["resolved"]["summary"]["next_commands"]
    assert [shlex.split(one)[1] for one in commands] == ["eval", "show"]
    assert "--proposals regions.json" in commands[0]
    again = harness(*shlex.split(commands[0])[1:], "--device", "cpu", "--output", "again", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["metrics"]["bbox/AP"] == record["metrics"]["bbox/AP"]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bytes(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    require_same_bytes_after_a_kill(harness, project, (*data, *GIVEN))


def test_what_is_missing_or_odd_is_said(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    (project / "one.json").write_text("[]", "utf-8")
    test = ("--test-annotations", "own.json", "--test-images", data[-1])
    for code, words, says in (
        (2, (), "give them with --train-proposals"),
        (2, (*GIVEN, "--engine", "detectron2"), "which the detectron2 engine does not read"),
        (2, (*GIVEN, "--model", "R_50_FPN_1x"), "proposes regions itself"),
        (2, (*GIVEN, "--train-proposals", "nowhere.json"), "nowhere.json"),
        (4, (*GIVEN, "--train-proposals", "one.json"), "one.json"),
        (2, GIVEN[:2], "give them with --val-proposals"),
        (2, (*GIVEN[:2], "--val-proposals", "nowhere.json"), "nowhere.json"),
        (4, (*GIVEN[:2], "--val-proposals", "one.json"), "one.json"),
        (2, (*GIVEN, *test), "give them with --test-proposals"),
        (2, (*GIVEN, *test, "--test-proposals", "nowhere.json"), "nowhere.json"),
        (2, (*GIVEN, "--test-proposals", "regions.json"), "goes with --test-annotations"),
    ):
        answer = harness("train", *data, *words, "--output", "none")
        assert answer.code == code, answer.err
        assert says in answer.err
        assert "Traceback" not in answer.err
        assert not (project / "none").exists()  # nothing is begun that cannot be done


def test_a_training_on_coco_needs_the_published_regions_and_says_how_to_get_them(
    harness: Callable[..., Answer], project: Path
) -> None:
    answer = harness("train", "--model", MODEL, "--output", "none")
    assert answer.code == 3, answer.err
    assert "coco_2017_train_box_proposals_21bc3a.pkl" in answer.err
    assert "coco_2017_val_box_proposals_ee0dad.pkl" in answer.err
    groups = "train,annotations,val,zoo,train_proposals,backbones"
    assert f"harness download --only {groups} --model {MODEL}" in answer.err
    answer = harness("train", "--model", MODEL, "--dataset", "synthetic_train", "--output", "none")
    assert answer.code == 2
    assert "give them with --train-proposals" in answer.err
    # Nothing proves the file: it is taken as it is, and what it holds is checked.
    answer = harness("download", "--only", "train_proposals", "--dry-run")
    assert answer.code == 0, answer.err
    assert "coco_2017_train_box_proposals" in answer.out + answer.err
