"""Keypoints from an annotation file to AP, pictures and a comparison, one command a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage

from tests.end_to_end.conftest import Answer
from tests.keypoint_data import write_keypoint_data

MODEL = "keypoint_rcnn_R_50_FPN_3x"
IMAGES = 8


@pytest.fixture
def persons(project: Path, embedded_root: Path) -> Path:
    """The images of ``persons.json`` in the working folder."""
    return write_keypoint_data(project / "persons.json", images=IMAGES, root=embedded_root)


def test_keypoints_are_measured_shown_and_compared(
    harness: Callable[..., Answer], project: Path, persons: Path
) -> None:
    data = ("--annotations", "persons.json", "--images", str(persons))
    answer = harness("eval", "--model", MODEL, "--engine", "fake", *data, "--output", "run")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    # What has no labelled keypoint may be taken for a neighbour, and is in its place then.
    assert record["metrics"]["keypoints/AP"] > 95
    assert record["metrics"]["bbox/AP"] == pytest.approx(100.0)
    assert {row["task"] for row in record["per_category"]} == {"bbox", "keypoints"}
    rows = json.loads((project / "run" / "predictions.json").read_text("utf-8"))
    assert all(len(row["keypoints"]) == 51 and "segmentation" not in row for row in rows)
    # A labelled point of the file comes back at the same number: half a pixel there, half back.
    truth = json.loads((project / "persons.json").read_text("utf-8"))["annotations"]
    labelled = {
        (row["image_id"], place)
        for row in truth
        for place in zip(row["keypoints"][0::3], row["keypoints"][1::3], strict=True)
        if any(place)
    }
    found = {
        (row["image_id"], place)
        for row in rows
        for place in zip(row["keypoints"][0::3], row["keypoints"][1::3], strict=True)
    }
    assert labelled <= found
    answer = harness("score", "run", "--evaluator", "both", "--resamples", "0", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["metrics"] == pytest.approx(
        {name: value for name, value in record["metrics"].items() if "/A" in name}
    )
    answer = harness("compare", "run", "run", "--resamples", "5")
    assert answer.code == 0, answer.err
    assert "keypoints/AP" in answer.out
    answer = harness("show", "run", "--task", "keypoints", "--output", "shown")
    assert answer.code == 0, answer.err
    with PillowImage.open(sorted((project / "shown" / "pictures").iterdir())[0]) as picture:
        picture.load()
        assert min(picture.size) > 0
    answer = harness("show", "run", "--task", "segm", "--output", "none")
    assert answer.code == 2
    assert "the predictions have no masks" in answer.err
    assert "--task bbox or keypoints" in answer.err


def test_what_lacks_keypoints_says_which_file_has_them(
    harness: Callable[..., Answer], project: Path, persons: Path
) -> None:
    content = json.loads((project / "persons.json").read_text("utf-8"))
    answer = harness("data", "check", "persons.json", "--images", str(persons))
    assert answer.code == 0, answer.err
    assert "17 keypoints an object" in answer.out
    for row in content["annotations"]:
        del row["keypoints"]
    (project / "bare.json").write_text(json.dumps(content), "utf-8")
    data = ("--annotations", "bare.json", "--images", str(persons))
    answer = harness("eval", "--model", MODEL, "--engine", "fake", *data, "--output", "run")
    assert answer.code == 4
    assert "bare.json has no keypoints" in answer.err
    assert "person_keypoints_val2017.json" in answer.err
    for learned, judged in (("bare.json", "persons.json"), ("persons.json", "bare.json")):
        given = ["--train-annotations", learned, "--val-annotations", judged]
        given += ["--train-images", str(persons), "--val-images", str(persons), "--init", "none"]
        answer = harness("train", "--model", MODEL, *given, "--iterations", "1")
        assert answer.code == 4
        assert "bare.json has no keypoints" in answer.err
        assert "person_keypoints_train2017.json" in answer.err
    answer = harness("eval", "--model", MODEL, "--dataset", "keypoints_coco_2017_val")
    assert answer.code == 3
    assert "harness download --only val,annotations" in answer.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row["keypoints"].append(1), "expected numbers x, y, v"),
        (lambda row: row["keypoints"].extend([1, 1, 2]), "has 18 keypoints, others have 17"),
        (lambda row: row["keypoints"].__setitem__(2, 7), "has the visibility 7"),
    ],
)
def test_odd_keypoints_are_named(
    harness: Callable[..., Answer],
    project: Path,
    persons: Path,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    content = json.loads((project / "persons.json").read_text("utf-8"))
    change(content["annotations"][-1])
    (project / "odd.json").write_text(json.dumps(content), "utf-8")
    answer = harness("data", "check", "odd.json", "--images", str(persons))
    assert answer.code == 4
    assert says in answer.err
