"""Boundary AP: what is right stays right, and a coarse outline costs more than its area."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measure.coco import score
from harness.measure.evaluators import boundary_metrics
from harness.measure.masks import rle_of

IMAGE = {"id": 7, "height": 300, "width": 400, "file_name": "7.jpg"}


def content(*boxes: tuple[int, int, int, int]) -> dict[str, Any]:
    return {
        "images": [IMAGE],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {
                "id": number,
                "image_id": 7,
                "category_id": 3,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": [corners(box)],
            }
            for number, box in enumerate(boxes, 1)
        ],
    }


def corners(box: tuple[int, int, int, int]) -> list[int]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def detected(box: tuple[int, int, int, int]) -> dict[str, Any]:
    counts = rle_of([corners(box)], 300, 400).counts
    segmentation = {"size": [300, 400], "counts": counts}
    return {"image_id": 7, "category_id": 3, "score": 0.9, "segmentation": segmentation}


def test_a_perfect_mask_has_a_perfect_boundary() -> None:
    found = boundary_metrics(content((50, 50, 200, 150)), [detected((50, 50, 200, 150))], [7])
    assert found["boundary/AP"] == pytest.approx(100)
    assert found["boundary/APs"] is None


def test_an_outline_that_is_off_costs_more_than_the_area_says() -> None:
    truth, rows = content((50, 50, 200, 150)), [detected((56, 56, 188, 138))]
    masks = score(truth, rows, tasks=("segm",), image_ids=[7]).metrics["segm/AP"]
    found = boundary_metrics(truth, rows, [7])["boundary/AP"]
    assert found is not None
    assert masks is not None
    assert found < masks - 20


def test_without_masks_nothing_is_known() -> None:
    assert set(boundary_metrics(content((1, 1, 5, 5)), [], [7]).values()) == {None}
