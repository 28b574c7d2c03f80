"""Predictions as a file has them beside a ground truth, as columns that faults can be undone in.

Unlike ``measure.columns`` nothing has to fit: images and categories are the ids of the file,
whether the data set knows them or not, and boxes are four numbers of unknown meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.tasks import Task
from harness.measure.columns import (
    Booleans,
    Floats,
    Integers,
    Mask,
    Objects,
    objects_of,
)
from harness.measure.masks import pixels_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """N predictions."""

    image_id: Integers
    """(N,) ids of the file."""
    category_id: Integers
    """(N,) ids of the file."""
    boxes: Floats
    """(N, 4); x, y, width, height in px where nothing is wrong. Of masks alone, what encloses
    them."""
    score: Floats
    """(N,), higher is more certain."""
    masks: tuple[Mask, ...] | None
    """One a prediction, readable and of any size; None without masks."""
    has_boxes: bool
    """Whether the boxes are the file's own."""

    def __len__(self) -> int:
        """The number of predictions."""
        return len(self.score)

    def take(self, rows: npt.NDArray[Any]) -> Rows:
        """Some of the predictions.

        Args:
            rows: Positions, or a truth value for each.
        """
        chosen = np.flatnonzero(rows) if rows.dtype == bool else rows
        masks = self.masks
        return replace(
            self,
            image_id=self.image_id[chosen],
            category_id=self.category_id[chosen],
            boxes=self.boxes[chosen],
            score=self.score[chosen],
            masks=None if masks is None else tuple(masks[one] for one in chosen),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The ground truth of M images, sorted by id."""

    image_ids: Integers
    """(M,) ascending."""
    sizes_px: Floats
    """(M, 2) height and width."""
    listed: Integers
    """(M,) the same ids in the order of the file."""
    file_names: tuple[str, ...]
    """(M,) in the order of ``image_ids``."""
    category_ids: Integers
    """(K,) ascending."""
    category_names: tuple[str, ...]
    """(K,) in the order of ``category_ids``."""
    objects: Mapping[Task, Objects]
    """By task; masks only where they are compared."""
    run_lengths: Mapping[Task, Booleans]
    """(objects,) whether the mask of each is run lengths, which COCO has for crowds alone."""
    scored: Booleans
    """(M,) the images that count."""

    def position_of(self, image_id: Integers) -> Integers:
        """(N,) positions of image ids; −1 for those that are not known."""
        return _positions(self.image_ids, image_id)

    def class_of(self, category_id: Integers) -> Integers:
        """(N,) positions of category ids; −1 for those that are not known."""
        return _positions(self.category_ids, category_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Predictions and what they are scored against."""

    rows: Rows
    """The predictions."""
    truth: Truth
    """The ground truth."""

    def with_rows(self, **changes: Any) -> Case:
        """The same with other columns of the predictions.

        Args:
            **changes: Fields of ``Rows``.
        """
        return replace(self, rows=replace(self.rows, **changes))

    def taking(self, rows: npt.NDArray[Any]) -> Case:
        """The same with some of the predictions.

        Args:
            rows: Positions, or a truth value for each.
        """
        return replace(self, rows=self.rows.take(rows))

    @property
    def position(self) -> Integers:
        """(N,) position of each prediction's image; −1 where it is not known."""
        return self.truth.position_of(self.rows.image_id)

    @property
    def sizes_px(self) -> Floats:
        """(N, 2) height and width of each prediction's image; of unknown ones the first one's."""
        return self.truth.sizes_px[np.maximum(self.position, 0)]


def truth_of(
    content: Mapping[str, Any],
    tasks: Sequence[Task],
    *,
    watch: Callable[[], None] = lambda: None,
) -> Truth:
    """The ground truth of an annotation file.

    Args:
        content: As returned by ``data.coco.read_annotations``.
        tasks: What is compared.
        watch: Called before each mask; what it raises ends the reading.
    """
    images = sorted(content["images"], key=lambda image: image["id"])
    categories = sorted(content["categories"], key=lambda category: category["id"])
    ids = [image["id"] for image in images]
    objects = {task: objects_of(content, task, ids, watch=watch) for task in tasks}
    lengths = {}
    for task in tasks:
        rows = [row for row in content["annotations"] if task == "bbox" or row.get("segmentation")]
        marks = [isinstance(row.get("segmentation"), Mapping) for row in rows]
        count = len(objects[task].image)
        lengths[task] = np.array(marks, bool) if len(marks) == count else np.zeros(count, bool)
    return Truth(
        image_ids=np.array(ids, dtype=np.int64),
        sizes_px=np.array(
            [(image["height"], image["width"]) for image in images], dtype=np.float64
        ).reshape(-1, 2),
        listed=np.array([image["id"] for image in content["images"]], dtype=np.int64),
        file_names=tuple(image["file_name"] for image in images),
        category_ids=np.array([one["id"] for one in categories], dtype=np.int64),
        category_names=tuple(one["name"] for one in categories),
        objects=objects,
        run_lengths=lengths,
        scored=np.ones(len(ids), dtype=bool),
    )


def rows_of(
    predictions: Sequence[Mapping[str, Any]], *, watch: Callable[[], None] = lambda: None
) -> Rows:
    """Predictions as columns.

    Args:
        predictions: COCO results of ``data.predictions``: ids are integers, boxes four
            finite numbers, masks readable; every row has a box, or every row a mask.
        watch: Called before each column; what it raises ends the reading.
    """

    def column(key: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        watch()
        return np.array([row[key] for row in predictions], dtype=kind)

    has_boxes = all("bbox" in row for row in predictions)
    masks = None
    if predictions and all("segmentation" in row for row in predictions):
        masks = tuple(row["segmentation"] for row in predictions)
    boxes = column("bbox", np.float64).reshape(-1, 4) if has_boxes else enclosing(masks or ())
    return Rows(
        image_id=column("image_id", np.int64),
        category_id=column("category_id", np.int64),
        boxes=boxes,
        score=column("score", np.float64),
        masks=masks,
        has_boxes=has_boxes,
    )


def enclosing(masks: Sequence[Mask]) -> Floats:
    """(n, 4) x, y, width, height of the least box around each mask."""
    from pycocotools import mask as coco_mask

    if not masks:
        return np.zeros((0, 4))
    return np.asarray(coco_mask.toBbox(list(masks)), dtype=np.float64).reshape(-1, 4)


def areas_of(rows: Rows, task: Task) -> Floats:
    """(N,) px² of each prediction.

    Args:
        rows: The predictions.
        task: Boxes, or their masks.
    """
    if task == "segm" and rows.masks is not None:
        return pixels_of(rows.masks)
    return rows.boxes[:, 2] * rows.boxes[:, 3]


def _positions(ids: Integers, wanted: Integers) -> Integers:
    if len(ids) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[place] == wanted, place, -1)
