"""The matching is pycocotools' own, match by match."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.coco import read_annotations
from harness.data.predictions import read_predictions
from harness.measure.columns import objects_of, results_of
from harness.measure.evaluators import Task, ground_truth, numbering_of, result_row
from harness.measure.greedy import match
from harness.measure.masks import rle_of


def official(
    annotations: dict[str, Any], predictions: list[dict[str, Any]], task: Task, ids: list[int]
) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbering = numbering_of(annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(annotations, task, numbering)
        truth.createIndex()
        found = truth.loadRes([result_row(row, task, numbering) for row in predictions])
        evaluation = COCOeval(truth, found, task)
        evaluation.params.imgIds = sorted(numbering.image_numbers(ids))
        evaluation.evaluate()
    return evaluation


def assert_equal(
    annotations: dict[str, Any], predictions: list[dict[str, Any]], task: Task
) -> None:
    """Every match, every ignored detection and every count of objects is pycocotools'."""
    ids = sorted(image["id"] for image in annotations["images"])
    objects = objects_of(annotations, task, ids)
    results = results_of(annotations, predictions, task, ids)
    found = match(objects, results)
    cells = official(annotations, predictions, task, ids).evalImgs
    images, matched = len(ids), 0
    for category in range(len(annotations["categories"])):
        mine = results.category[found.kept] == category
        for size in range(4):
            begin = (category * 4 + size) * images
            known = [cell for cell in cells[begin : begin + images] if cell is not None]
            if not known:
                continue
            order = np.argsort(
                -np.concatenate([cell["dtScores"] for cell in known]), kind="mergesort"
            )
            hits, aside = (
                np.concatenate([cell[key] for cell in known], axis=1)[:, order] != 0
                for key in ("dtMatches", "dtIgnore")
            )
            np.testing.assert_array_equal(found.object[size][:, mine] >= 0, hits)
            np.testing.assert_array_equal(~found.counted[size][:, mine], aside)
            own = ~found.ignored[size][objects.category == category]
            assert own.sum() == sum((np.asarray(cell["gtIgnore"]) == 0).sum() for cell in known)
            matched += int(hits.sum())
    assert matched > 0


def crowded(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A few crowded images: equal boxes and scores, crowds, more than 100 detections."""
    random = np.random.default_rng(seed)
    sides = (4, 20, 40, 130, 200)

    def box() -> list[float]:
        width, height = random.choice(sides, 2)
        return [float(one) for one in (*random.integers(0, 40, 2) * 5, width, height)]

    objects = [
        {
            "id": number + 1,
            "image_id": int(random.integers(1, 5)),
            "category_id": int(random.integers(1, 4)),
            "bbox": box(),
            "iscrowd": int(random.random() < 0.15),
        }
        for number in range(90)
    ]
    annotations = {
        "images": [
            {"id": n, "height": 480, "width": 640, "file_name": f"{n}.jpg"} for n in range(1, 6)
        ],
        "categories": [{"id": n, "name": str(n)} for n in (1, 2, 3, 7)],
        "annotations": [{**one, "area": one["bbox"][2] * one["bbox"][3] * 0.7} for one in objects],
    }
    predictions = [
        {
            "image_id": int(random.integers(1, 6)),
            "category_id": int(random.choice([1, 1, 1, 2, 3, 7])),
            "bbox": box() if random.random() < 0.5 else list(random.choice(objects)["bbox"]),
            "score": float(random.integers(0, 12)) / 12,
        }
        for _ in range(2500)
    ]
    return annotations, predictions


@pytest.mark.parametrize("seed", range(3))
def test_crowds_ties_and_more_than_a_hundred_detections(seed: int) -> None:
    assert_equal(*crowded(seed), "bbox")


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_without_detections_or_objects_nothing_matches(task: Task) -> None:
    annotations, predictions = crowded(5)
    whole = {"size": [100, 100], "counts": rle_of([[0, 0, 9, 0, 9, 9, 0, 9]], 100, 100).counts}
    predictions = [{**row, "segmentation": whole} for row in predictions]
    annotations = {
        **annotations,
        "images": [{**one, "height": 100, "width": 100} for one in annotations["images"]],
        "annotations": [
            {**row, "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}
            for row in annotations["annotations"]
        ],
    }
    ids = [image["id"] for image in annotations["images"]]
    for objects, rows in ((annotations, []), ({**annotations, "annotations": []}, predictions)):
        found = match(objects_of(objects, task, ids), results_of(annotations, rows, task, ids))
        assert not (found.object >= 0).any()


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_the_official_fixture(shared_data: Path, task: Task) -> None:
    folder = shared_data / "evaluators" / "cocoapi_fake100"
    annotations = read_annotations(folder / "instances_val2014_100.json")
    rows = read_predictions(folder / f"instances_val2014_fake{task}100_results.json", annotations)
    assert_equal(annotations, rows, task)
