"""What a user says of the classes in a file of predictions, in every command that reads one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.core.errors import IntegrityError, UsageError
from harness.core.requests.reports import ClassIds
from harness.data.categories import COCO_CATEGORIES
from harness.data.coco import read_annotations
from harness.data.foreign_ids import class_table
from harness.diagnosis.catalogue import CATALOGUE
from harness.workflows.runs.results_files import read_loosely, read_results

Row = dict[str, Any]

#: Categories in a file whose order is not that of their ids; 0, 1 and 3 may be class indices, or
#: ids one too low.
IDS = (5, 1, 2, 4)


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Six objects on six images, of three categories."""
    content = {
        "images": [
            {"id": one, "file_name": f"{one:03}.png", "height": 60, "width": 80}
            for one in range(1, 7)
        ],
        "categories": [{"id": one, "name": f"kind {one}"} for one in IDS],
        "annotations": [
            {
                "id": one,
                "image_id": one,
                "category_id": (1, 2, 5)[one % 3],
                "bbox": [10, 10, 30, 20],
                "area": 600,
                "iscrowd": 0,
            }
            for one in range(1, 7)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def predictions(annotations: Path, tmp_path: Path) -> Path:
    """The objects themselves, with class indices from 0 in the order of the ids."""
    return written(annotations, tmp_path / "predictions.json", {1: 0, 2: 1, 5: 3})


def written(annotations: Path, path: Path, classes: dict[int, int]) -> Path:
    """The objects as predictions, with other numbers for the categories."""
    rows = [
        {
            "image_id": one["image_id"],
            "category_id": classes[one["category_id"]],
            "bbox": one["bbox"],
            "score": 0.9,
        }
        for one in read_annotations(annotations)["annotations"]
    ]
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("word", "classes"),
    [
        ("ids", {1: 1, 2: 2, 5: 5}),
        ("index-from-0", {1: 0, 2: 1, 5: 3}),
        ("index-from-1", {1: 1, 2: 2, 5: 4}),
        ("file-order", {1: 1, 2: 2, 5: 0}),
        ("id-plus-1", {1: 2, 2: 3, 5: 6}),
        ("id-minus-1", {1: 0, 2: 1, 5: 4}),
        ("coco-ids", {1: 1, 2: 2, 5: 4}),
    ],
)
def test_each_word(
    annotations: Path, tmp_path: Path, word: ClassIds, classes: dict[int, int]
) -> None:
    content = read_annotations(annotations)
    path = written(annotations, tmp_path / "predictions.json", classes)
    wanted = [one["category_id"] for one in content["annotations"]]
    for read in (read_results, read_loosely):
        found = read(path, content, word)
        assert [row["category_id"] for row in found.rows] == wanted
        assert "as --class-ids says" in found.assumed[-1]


def test_coco_ids_are_the_80_of_a_file_without_gaps() -> None:
    content = {"categories": [{"id": one, "name": str(one)} for one in range(1, 81)]}
    table = class_table("coco-ids", content)
    assert [table.of(one.category_id) for one in COCO_CATEGORIES] == list(range(1, 81))


def test_the_words_are_those_of_the_catalogue() -> None:
    said = {one.name: one.fix for one in CATALOGUE if "--class-ids" in one.fix}
    assert set(said) == {"index-from-0", "index-from-1", "id-plus-1", "id-minus-1", "coco-ids"}
    assert all(fix.endswith(f"--class-ids {name}") for name, fix in said.items())


def test_what_may_mean_two_things_is_refused_and_can_be_said(
    annotations: Path, predictions: Path
) -> None:
    for refusing in (harness.score, harness.analyze):
        with pytest.raises(IntegrityError, match="names category") as caught:
            refusing(predictions=predictions, annotations=annotations)
        assert "--class-ids index-from-0" in str(caught.value.hint)
    record = harness.score(
        predictions=predictions, annotations=annotations, class_ids="index-from-0", resamples=0
    )
    assert record.metrics["bbox/AP"] == pytest.approx(100)
    assert "as --class-ids says" in record.dataset.warnings[-1]
    other = harness.score(
        predictions=predictions, annotations=annotations, class_ids="id-minus-1", resamples=0
    )
    assert other.metrics["bbox/AP"] == pytest.approx(200 / 3)


def test_every_command_that_reads_a_file_takes_it(
    annotations: Path, predictions: Path, tmp_path: Path
) -> None:
    said: dict[str, Any] = {"annotations": annotations, "class_ids": "index-from-0"}
    analyzed = harness.analyze(predictions=predictions, **said)
    assert analyzed.metrics["bbox/AP"] == pytest.approx(100)
    compared = harness.compare(predictions, predictions, resamples=0, **said)
    assert {one.metric: one.second for one in compared.metrics}["bbox/AP"] == pytest.approx(100)
    diagnosed = harness.diagnose(predictions=predictions, reference=predictions, **said)
    assert (diagnosed.diagnosed.ap, diagnosed.diagnosed.findings) == (pytest.approx(100), ())
    assert diagnosed.reference is not None
    assert diagnosed.reference.differing_images == 0
    images = tmp_path / "images"
    pictures_of(annotations, images)
    shown = harness.show(predictions=predictions, images=images, output=tmp_path / "shown", **said)
    assert (shown.true_positives, shown.false_negatives) == (6, 0)


def pictures_of(annotations: Path, folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for one in read_annotations(annotations)["images"]:
        pixels = np.zeros((one["height"], one["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / one["file_name"])


def test_other_programs_rows_are_read_as_is_said(annotations: Path, tmp_path: Path) -> None:
    content = read_annotations(annotations)
    path = tmp_path / "sink.json"
    corners = {"x_min": 10, "y_min": 10, "x_max": 40, "y_max": 30, "confidence": 0.9}
    # All of them are listed, so that they are taken for ids.
    path.write_text(json.dumps([{"image_id": 1, "class_id": 1, **corners}]))
    assert read_results(path, content).rows[0]["category_id"] == 1
    assert read_results(path, content, "index-from-0").rows[0]["category_id"] == 2
    assert read_results(path, content, "file-order").rows[0]["category_id"] == 1
    table = {"1": {"boxes": [[10, 10, 40, 30]], "labels": [0], "scores": [0.9]}}
    path.write_text(json.dumps(table))
    found = read_results(path, content, "file-order")
    assert found.rows[0]["category_id"] == 5
    assert "in the order of the annotation file" in found.assumed[0]


def test_a_number_that_stands_for_nothing_is_named(annotations: Path, predictions: Path) -> None:
    with pytest.raises(IntegrityError, match=r"class index 0; there are 4 categories, from 1 to 4"):
        harness.score(predictions=predictions, annotations=annotations, class_ids="index-from-1")


@pytest.mark.parametrize(
    "asked",
    [
        lambda run: harness.score(run, class_ids="ids"),
        lambda run: harness.analyze(run, class_ids="ids"),
        lambda run: harness.diagnose(run, class_ids="ids"),
        lambda run: harness.show(run, class_ids="ids"),
    ],
)
def test_a_run_knows_its_classes(tmp_path: Path, asked: Callable[[Path], object]) -> None:
    with pytest.raises(UsageError, match="--class-ids belongs to files") as caught:
        asked(tmp_path)
    assert "--predictions" in str(caught.value.hint)
