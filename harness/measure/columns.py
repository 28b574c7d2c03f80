"""Annotations and predictions as columns: what is computed of all rows at once.

An image and a category are positions in the sorted lists of their ids. Rows of images that are not
scored are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.measure.evaluators import Task
from harness.measure.polygons import usable_polygons
from harness.measure.rle import rle_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

#: A mask as pycocotools reads it: ``size`` (height, width) and compressed ``counts``.
Mask = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The ground truth of n objects."""

    image: Integers
    """(n,) positions of their images."""
    category: Integers
    """(n,) positions of their categories."""
    boxes_xywh_px: Floats
    """(n, 4), in their image."""
    area_px: Floats
    """(n,) what decides their size class."""
    crowd: Booleans
    """(n,) whether they match any number of detections, which then count neither way."""
    masks: tuple[Mask, ...] | None
    """One an object; None where boxes are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """N predictions."""

    image: Integers
    """(N,) positions of their images."""
    category: Integers
    """(N,) positions of their categories."""
    boxes_xywh_px: Floats
    """(N, 4), in their image; zeros where only masks are given."""
    score: Floats
    """(N,), higher is more certain."""
    area_px: Floats
    """(N,) what decides their size class."""
    masks: tuple[Mask, ...] | None
    """One a prediction; None where boxes are compared."""

    def __len__(self) -> int:
        """The number of predictions."""
        return len(self.image)


def objects_of(annotations: Mapping[str, Any], task: Task, image_ids: Sequence[int]) -> Objects:
    """The objects of some images.

    A missing area is the box's; for masks, what has no mask is left out, as the evaluators do
    (``measure.evaluators.ground_truth``).

    Args:
        annotations: Of ``data.coco.read_annotations``.
        task: Boxes or masks.
        image_ids: The images that count, in the order of their positions.
    """
    images = {one: number for number, one in enumerate(image_ids)}
    categories = category_positions(annotations)
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    rows = [row for row in annotations["annotations"] if row["image_id"] in images]
    masks = None
    if task == "segm":
        rows = [row for row in rows if _has_mask(row.get("segmentation"))]
        masks = tuple(_mask(row["segmentation"], *sizes[row["image_id"]]) for row in rows)
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    areas = [
        row.get("area", area) for row, area in zip(rows, boxes[:, 2] * boxes[:, 3], strict=True)
    ]
    return Objects(
        image=np.array([images[row["image_id"]] for row in rows], dtype=np.int64),
        category=np.array([categories[row["category_id"]] for row in rows], dtype=np.int64),
        boxes_xywh_px=boxes,
        area_px=np.array(areas, dtype=np.float64),
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=bool),
        masks=masks,
    )


def results_of(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    task: Task,
    image_ids: Sequence[int],
) -> Results:
    """The predictions for some images.

    The area of a mask is its own, whatever box is in the row (``measure.evaluators.result_row``).

    Args:
        annotations: Of ``data.coco.read_annotations``.
        predictions: Valid COCO results with what the task needs.
        task: Boxes or masks.
        image_ids: The images that count, in the order of their positions.
    """
    images = {one: number for number, one in enumerate(image_ids)}
    categories = category_positions(annotations)
    rows = [row for row in predictions if row["image_id"] in images]
    nothing = (0.0, 0.0, 0.0, 0.0)
    boxes = np.array([row.get("bbox", nothing) for row in rows], dtype=np.float64).reshape(-1, 4)
    masks = tuple(row["segmentation"] for row in rows) if task == "segm" else None
    return Results(
        image=np.array([images[row["image_id"]] for row in rows], dtype=np.int64),
        category=np.array([categories[row["category_id"]] for row in rows], dtype=np.int64),
        boxes_xywh_px=boxes,
        score=np.array([row["score"] for row in rows], dtype=np.float64),
        area_px=boxes[:, 2] * boxes[:, 3] if masks is None else mask_areas(masks),
        masks=masks,
    )


def category_positions(annotations: Mapping[str, Any]) -> dict[int, int]:
    """The position of each category among the sorted ids.

    Args:
        annotations: Of ``data.coco.read_annotations``.
    """
    ids = sorted(category["id"] for category in annotations["categories"])
    return {one: number for number, one in enumerate(ids)}


def mask_areas(masks: Sequence[Mask]) -> Floats:
    """(n,) pixels of each mask."""
    from faster_coco_eval.core import mask as coco_mask

    return np.asarray(coco_mask.area(list(masks)), dtype=np.float64).reshape(len(masks))


def _has_mask(segmentation: Any) -> bool:
    if isinstance(segmentation, list):
        return bool(usable_polygons(segmentation))
    return bool(segmentation)


def _mask(segmentation: Any, height_px: int, width_px: int) -> Mask:
    return {
        "size": [height_px, width_px],
        "counts": rle_of(segmentation, height_px, width_px).counts,
    }
