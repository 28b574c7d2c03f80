"""How long C code will run on masks, estimated before it does: by the runs it compares.

The IoU of two masks takes a step for every run of both. Evaluators compare every detection of a
category on an image, the best 100 of them, with every object of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from harness.measure.evaluators import Share

#: A second or two. What may take longer runs in a child of this process.
MOST_STEPS_HERE = 1e9

#: Detections of a category on an image that are scored (COCOeval's ``maxDets``).
MOST_DETECTIONS = 100

Row = Mapping[str, Any]

#: Image and category.
Cell = tuple[int, int]

K = TypeVar("K", bound=Hashable)


def steps_of(shares: Iterable[Share]) -> float:
    """Steps of all masks of some shares, at most; boxes count as none."""
    return sum(
        sum(cell_steps(share.truth["annotations"], share.rows, MOST_DETECTIONS).values())
        for share in shares
        if share.task == "segm"
    )


def cell_steps(objects: Sequence[Row], rows: Sequence[Row], most: int) -> dict[Cell, float]:
    """Steps at most for each image and category.

    Args:
        objects: Annotations with masks.
        rows: Predictions with masks.
        most: Detections that are compared, of a category on an image.
    """
    return _steps(objects, rows, most, lambda row: (row["image_id"], row["category_id"]))


def _steps(
    objects: Sequence[Row], rows: Sequence[Row], most: int, cell_of: Callable[[Row], K]
) -> dict[K, float]:
    """Steps at most by what rows are compared within."""
    counts: Counter[K] = Counter()
    runs: dict[K, float] = defaultdict(float)
    for row in objects:
        cell = cell_of(row)
        counts[cell] += 1
        runs[cell] += _runs_at_most(row["segmentation"])
    found: Counter[K] = Counter()
    found_runs: dict[K, float] = defaultdict(float)
    for row in rows:
        cell = cell_of(row)
        found[cell] += 1
        found_runs[cell] = max(found_runs[cell], len(row["segmentation"]["counts"]))
    return {
        cell: min(found[cell], most) * (runs[cell] + count * found_runs[cell])
        for cell, count in counts.items()
    }


def most_steps(objects: Sequence[Row], rows: Sequence[Row]) -> float:
    """Steps at most of all detections of an image with all its objects, of the worst image.

    Args:
        objects: Annotations with masks.
        rows: Predictions with masks.
    """
    found = [row for row in rows if row.get("segmentation")]
    there = [row for row in objects if row.get("segmentation")]
    return max(_steps(there, found, len(rows), lambda row: row["image_id"]).values(), default=0.0)


def _runs_at_most(segmentation: Any) -> float:
    """Runs of a mask: a character has at most one, and a polygon two a column that it crosses."""
    if isinstance(segmentation, Mapping):
        return len(segmentation["counts"])
    widths = (max(one[::2]) - min(one[::2]) + 1 for one in segmentation if one)
    return 2 * float(sum(widths))
