"""Annotations and predictions as columns: what is computed of all rows at once.

An image and a category are positions in the sorted lists of their ids. Rows of images that are not
scored are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.tasks import TASKS, Task
from harness.measure.keypoints import oks_sigmas
from harness.measure.masks import compared_mask, pixels_of, usable_polygons

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

#: A mask as pycocotools reads it: ``size`` (height, width) and compressed ``counts``.
Mask = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypoints:
    """Keypoints of n rows."""

    points: Floats
    """(n, K, 3) x, y in px, and visibility or score."""
    sigmas: Floats
    """(K,) of OKS."""


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
    """One an object; None where boxes or keypoints are compared."""
    keypoints: Keypoints | None = None
    """Of the objects; None where something else is compared."""

    @property
    def ignored(self) -> Booleans:
        """(n,) whether an object does not count: crowds, and those without a labelled keypoint."""
        if self.keypoints is None:
            return self.crowd
        return self.crowd | ~(self.keypoints.points[:, :, 2] > 0).any(axis=1)


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
    """One a prediction; None where boxes or keypoints are compared."""
    keypoints: Keypoints | None = None
    """Of the predictions; None where something else is compared."""
    most: int = 100
    """Detections of a category on an image that count (COCOeval's ``maxDets``)."""

    def __len__(self) -> int:
        """The number of predictions."""
        return len(self.image)


def objects_of(
    annotations: Mapping[str, Any],
    task: Task,
    image_ids: Sequence[int],
    *,
    watch: Callable[[], None] = lambda: None,
) -> Objects:
    """The objects of some images.

    A missing area is the box's; for masks, what has no mask is left out, as the evaluators do
    (``measure.evaluators.ground_truth``).

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        task: Boxes or masks.
        image_ids: The images that count, in the order of their positions.
        watch: Called before each mask is drawn; what it raises ends that.
    """
    images = {one: number for number, one in enumerate(image_ids)}
    categories = category_positions(annotations)
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    rows = [row for row in annotations["annotations"] if row["image_id"] in images]
    masks = None
    if task == "segm":
        rows = [row for row in rows if has_shape(row, task)]
        drawn = []
        for row in rows:
            watch()
            drawn.append(compared_mask(row["segmentation"], *sizes[row["image_id"]]))
        masks = tuple(drawn)
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
        keypoints=_keypoints(annotations, rows) if task == "keypoints" else None,
    )


def results_of(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    task: Task,
    image_ids: Sequence[int],
) -> Results:
    """The predictions for some images.

    The area of a mask is its own, that of keypoints the one they span, whatever box is in the row
    (``measure.evaluators.result_row``).

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
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
    keypoints = _keypoints(annotations, rows) if task == "keypoints" else None
    areas = boxes[:, 2] * boxes[:, 3] if masks is None else pixels_of(masks)
    if keypoints is not None:
        areas = np.ptp(keypoints.points[:, :, :2], axis=1).prod(axis=1)
    return Results(
        image=np.array([images[row["image_id"]] for row in rows], dtype=np.int64),
        category=np.array([categories[row["category_id"]] for row in rows], dtype=np.int64),
        boxes_xywh_px=boxes,
        score=np.array([row["score"] for row in rows], dtype=np.float64),
        area_px=areas,
        masks=masks,
        keypoints=keypoints,
        most=TASKS[task].most_detections,
    )


def _keypoints(annotations: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Keypoints:
    sigmas = np.array(oks_sigmas(annotations))
    none = [0.0] * 3 * len(sigmas)
    flat = [row.get("keypoints") or none for row in rows]
    points = np.array(flat, dtype=np.float64).reshape(len(rows), len(sigmas), 3)
    return Keypoints(points=points, sigmas=sigmas)


def category_positions(annotations: Mapping[str, Any]) -> dict[int, int]:
    """The position of each category among the sorted ids.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
    """
    ids = sorted(category["id"] for category in annotations["categories"])
    return {one: number for number, one in enumerate(ids)}


def has_shape(row: Mapping[str, Any], task: Task) -> bool:
    """Whether an annotation has what is compared in a task; without a mask it has nothing.

    Args:
        row: Row of an annotation file.
        task: Boxes, masks or keypoints.
    """
    segmentation = row.get("segmentation")
    if task != "segm":
        return True
    if isinstance(segmentation, list):
        return bool(usable_polygons(segmentation))
    return bool(segmentation)
