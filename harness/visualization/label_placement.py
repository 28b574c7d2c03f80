"""Where the labels of boxes stand in a picture, so that none covers another while there is room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Places around a box in the order of preference: where the label's left edge is, as a share of
#: what is free along the box, and its top edge in label heights from the box's top or bottom edge.
ACROSS = (0.0, 1.0, 0.5, 0.25, 0.75)
FROM_TOP = (-1.0, 0.0, -2.0, 1.0)
FROM_BOTTOM = (0.0, -1.0, 1.0, -2.0)

#: A label may share this much of its area with others before the next place is tried; and so much
#: where there is no better one. More than that, and neither would be legible: it is left out.
SLACK, MOST_COVERED = 0.02, 0.5


def place_plates(
    boxes_xyxy_px: npt.NDArray[np.float64],
    sizes_px: Sequence[tuple[int, int]],
    *,
    height_px: int,
    width_px: int,
) -> list[tuple[int, int] | None]:
    """(left, top) of each label in px, inside the picture where it fits at all; None for no place.

    Args:
        boxes_xyxy_px: (n, 4), the most important first: it chooses first.
        sizes_px: (width, height) of the labels.
    """
    taken = np.zeros((len(sizes_px), 4))
    places: list[tuple[int, int] | None] = []
    for number, (box, (width, height)) in enumerate(zip(boxes_xyxy_px, sizes_px, strict=True)):
        corners = _candidates(box, width, height)
        corners[:, 0] = corners[:, 0].clip(0, max(width_px - width, 0))
        corners[:, 1] = corners[:, 1].clip(0, max(height_px - height, 0))
        rectangles = np.concatenate((corners, corners + (width, height)), axis=1)
        covered = _overlaps(rectangles, taken[:number]).sum(axis=1)
        free = np.flatnonzero(covered <= SLACK * width * height)
        best = int(free[0]) if len(free) else int(covered.argmin())
        if covered[best] > MOST_COVERED * width * height:
            places.append(None)
            continue
        taken[number] = rectangles[best]
        places.append((round(corners[best, 0]), round(corners[best, 1])))
    return places


def _candidates(box: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.float64]:
    """(k, 2) left, top of every place a label may have at a box."""
    x1, y1, x2, y2 = box
    lefts = [x1 + share * max(x2 - x1 - width, 0) for share in ACROSS]
    tops = [y1 + rows * height for rows in FROM_TOP] + [y2 + rows * height for rows in FROM_BOTTOM]
    along = [(left, top) for top in tops for left in lefts]
    beside = [(x2, y1), (x1 - width, y1), (x2, y2 - height), (x1 - width, y2 - height)]
    return np.array(along + beside, dtype=np.float64)


def _overlaps(
    some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(k, m) px² that each of (k, 4) rectangles shares with each of (m, 4)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    overlap: npt.NDArray[np.float64] = (high - low).clip(min=0).prod(axis=2)
    return overlap
