"""What one process scores: some categories of a task, as columns until it has them.

Objects come with masks that were rasterised before. An evaluator makes the same masks of outlines
(``tests/measure/test_side_by_side.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.core.tasks import Task
from harness.measure.chunks import Compared
from harness.measure.columns import category_positions
from harness.measure.evaluators import (
    Curves,
    Numbering,
    Share,
    curves_of,
    ground_truth,
    numbering_of,
)
from harness.measure.scoring_processes import owners_of
from harness.measure.table import Table

#: A task, the numbers of its categories in the order of the curves, and the curves.
Scored = tuple[Task, Sequence[int], Curves]

#: Keys of annotations that evaluators look at, without the one that a task has.
KEYS = ("image_id", "category_id", "bbox", "area", "iscrowd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some categories of one task."""

    task: Task
    """Boxes or masks."""
    annotations: Mapping[str, Any]
    """All images; the categories and their objects."""
    numbering: Numbering
    """Of the whole data set."""
    image_ids: tuple[int, ...]
    """The images that are scored."""
    category_ids: tuple[int, ...]
    """All categories by position."""
    table: Table
    """Detections of the categories, with what the task needs."""


def portions_of(
    annotations: Mapping[str, Any],
    image_ids: Sequence[int],
    compared: Mapping[Task, Compared],
    table: Table,
    count: int,
) -> list[Portion]:
    """Every category of every task in one portion; none takes much longer than another.

    Args:
        annotations: Of ``data.coco.read_annotations``.
        image_ids: The images that are scored.
        compared: What was found of each task.
        table: All detections.
        count: How many portions of each task to make at most.
    """
    numbering = numbering_of(annotations)
    places = category_positions(annotations)
    ids = tuple(places)
    images = [{key: one[key] for key in ("id", "height", "width")} for one in annotations["images"]]
    category_of = table.category.tolist()
    predicted = [{"category_id": ids[one]} for one in category_of]
    owners = owners_of(annotations, predicted, tuple(compared), count)
    portions = []
    for task, found in compared.items():
        rows = _objects(annotations, task, found)
        own = replace(table, counts=None, sizes_px=None)
        if task == "segm":
            own = replace(table, boxes_xywh_px=None)
        owner = np.array([owners[task][one] for one in ids], dtype=np.int64)
        for number in np.unique(owner).tolist():
            chosen = frozenset(one for one in ids if owners[task][one] == number)
            portions.append(
                Portion(
                    task=task,
                    annotations={
                        "images": images,
                        "categories": [
                            one for one in annotations["categories"] if one["id"] in chosen
                        ],
                        "annotations": [row for row in rows if row["category_id"] in chosen],
                    },
                    numbering=numbering,
                    image_ids=tuple(image_ids),
                    category_ids=ids,
                    table=own.chosen(np.flatnonzero(owner[table.category] == number)),
                )
            )
    return portions


def _objects(annotations: Mapping[str, Any], task: Task, found: Compared) -> list[dict[str, Any]]:
    """The annotations with what a task needs, masks of evaluated images rasterised."""
    rows = [{key: row[key] for key in KEYS if key in row} for row in annotations["annotations"]]
    if task != "segm":
        return rows
    for row, given in zip(rows, annotations["annotations"], strict=True):
        row["segmentation"] = given.get("segmentation")
    for place, mask in zip(found.object_places.tolist(), found.masks or (), strict=True):
        rows[place]["segmentation"] = mask
    return rows


def score_portion(portion: Portion) -> list[Scored]:
    """Score the categories of a portion."""
    numbering, task = portion.numbering, portion.task
    truth = ground_truth(portion.annotations, task, numbering)
    share = Share(
        evaluator="fast",
        task=task,
        truth=truth,
        rows=portion.table.rows(
            numbering.image_numbers(portion.image_ids),
            [numbering.categories[one] for one in portion.category_ids],
            task,
        ),
        image_ids=numbering.image_numbers(portion.image_ids),
    )
    return [(task, share.category_ids, curves_of(share))]


def score_all(shares: Sequence[Share]) -> list[Scored]:
    """Score shares that were made of rows.

    Args:
        shares: Of ``measure.scoring_processes.partitioned``.
    """
    return [(share.task, share.category_ids, curves_of(share)) for share in shares]
