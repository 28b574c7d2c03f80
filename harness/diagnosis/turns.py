"""Images of a part of the set that are displayed upside down: half turns, which no box leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from harness.core.printable import counted
from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo, flipped, mirrored, turned
from harness.diagnosis.scoring import columns_of
from harness.measure.columns import Booleans, Floats, Integers
from harness.measure.greedy import SIZES, match

#: Objects met at these; a turn of an image must bring so many more of them, of both together.
MET_IOUS = np.array([0.5, 0.75])
LEAST_MORE = 2

#: Images that only a half turn sets right, and how many for each one that only a mirror does: no
#: EXIF orientation in use mirrors, so these are how often chance does.
LEAST_IMAGES = 4
FOR_EACH_MIRRORED = 4


def upside_down(case: Case, images: Booleans) -> Booleans | None:
    """(M,) the images whose boxes meet objects after a half turn; None where chance explains them.

    Args:
        case: Its boxes are in the frames of their images or of turned ones; categories are right.
        images: (M,) those to look at.
    """
    now = _met(case, images)
    half, left_right, top_down = (
        _met(_changed(case, change), images) for change in (_half_turned, mirrored, flipped)
    )
    by_chance = max(
        int(_only(one, now, half, other).sum())
        for one, other in ((left_right, top_down), (top_down, left_right))
    )
    if _only(half, now, left_right, top_down).sum() < max(
        LEAST_IMAGES, FOR_EACH_MIRRORED * (by_chance + 1)
    ):
        return None
    found: Booleans = (half - now >= LEAST_MORE) & (half >= np.maximum(left_right, top_down))
    return found


def half_turn_of(upside: Booleans) -> Undo:
    """Images turned by 180°.

    Args:
        upside: (M,) those images.
    """

    def change(given: Case) -> Case:
        rows, position = given.rows, given.position
        mine = (position >= 0) & upside[np.maximum(position, 0)]
        boxes = np.where(mine[:, None], _half_turned(rows.boxes, given.sizes_px), rows.boxes)
        return given.with_rows(boxes=boxes)

    return Undo(
        name="turned-frame",
        details=f"{counted(int(upside.sum()), 'image')}, by 180°",
        change=change,
    )


def _met(case: Case, images: Booleans) -> Integers:
    """(M,) objects of each image that a box of their category meets, at each IoU."""
    objects, results = columns_of(case, "bbox", images, agnostic=False)
    matching = match(objects, results, ious=MET_IOUS, sizes=(SIZES["all"],))
    there = (matching.object[0] >= 0) & matching.counted[0]
    image = results.image[matching.kept]
    return sum(
        (np.bincount(image[one], minlength=len(images)) for one in there),
        start=np.zeros(len(images), dtype=np.int64),
    )


def _only(one: Integers, now: Integers, *others: Integers) -> Booleans:
    """(M,) the images in which one change meets more objects than all others do."""
    found: Booleans = (one - now >= LEAST_MORE) & (one > np.maximum(*others))
    return found


def _changed(case: Case, change: Callable[[Floats, Floats], Floats]) -> Case:
    return case.with_rows(boxes=change(case.rows.boxes, case.sizes_px))


_half_turned = partial(turned, quarters=2)
