"""Where labels are put: beside their boxes, and so that none covers another while there is room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Places around a box in the order of preference: where the label's left edge is, as a share of
#: what is free along the box, and its top edge in label heights from the box's top or bottom edge.
ACROSS = (0.0, 1.0, 0.5, 0.25, 0.75)
FROM_TOP = (-1.0, 0.0, -2.0, 1.0)
FROM_BOTTOM = (0.0, -1.0, 1.0, -2.0)

#: A label may share this much of its area with others before the next place is tried; and so much
#: where there is no better one. More than that, and neither would be legible: it is left out.
SLACK, MOST_COVERED = 0.02, 0.5


def place_labels(
    boxes_xyxy_px: Floats,
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
    sizes = np.array(sizes_px, dtype=np.float64).reshape(-1, 2)
    lefts, tops = _edges(boxes_xyxy_px, sizes)
    lefts = lefts.clip(0, np.maximum(width_px - sizes[:, :1], 0))
    tops = tops.clip(0, np.maximum(height_px - sizes[:, 1:], 0))
    taken_x, taken_y = np.zeros((2, len(sizes))), np.zeros((2, len(sizes)))
    places: list[tuple[int, int] | None] = []
    for number, (width, height) in enumerate(sizes_px):
        covered = _covered(
            _shared(lefts[number], width, taken_x[:, :number]),
            _shared(tops[number], height, taken_y[:, :number]),
        )
        free = np.flatnonzero(covered <= SLACK * width * height)
        best = int(free[0]) if len(free) else int(covered.argmin())
        if covered[best] > MOST_COVERED * width * height:
            places.append(None)
            continue
        left, top = lefts[number, CANDIDATES[best][0]], tops[number, CANDIDATES[best][1]]
        taken_x[:, number], taken_y[:, number] = (left, left + width), (top, top + height)
        places.append((round(left), round(top)))
    return places


#: (left, top) of each place a label may have, as positions in what ``_edges`` returns: those along
#: the box, then the four beside its corners.
ALONG = len(ACROSS)
AROUND = len(FROM_TOP) + len(FROM_BOTTOM)
CANDIDATES = (
    *((left, top) for top in range(AROUND) for left in range(ALONG)),
    *((ALONG + left, AROUND + top) for top in range(2) for left in range(2)),
)


def _edges(boxes: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """(n, 7) left and (n, 10) top edges that the labels of boxes may have.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        sizes: (n, 2) widths and heights of the labels.
    """
    x1, y1, x2, y2 = boxes.reshape(-1, 4).T
    width, height = sizes.T
    lefts = [x1 + share * np.maximum(x2 - x1 - width, 0) for share in ACROSS]
    tops = [y1 + rows * height for rows in FROM_TOP] + [y2 + rows * height for rows in FROM_BOTTOM]
    return np.stack([*lefts, x2, x1 - width], axis=1), np.stack([*tops, y1, y2 - height], axis=1)


def _shared(starts: Floats, length: int, taken: Floats) -> Floats:
    """(k, m) px that each of k spans of one length shares with each of m.

    Args:
        starts: (k,) where they start.
        length: Length of each of the k.
        taken: (2, m) where the others start and end.
    """
    ends = starts + length
    shared: Floats = np.minimum(ends[:, None], taken[1])
    shared -= np.maximum(starts[:, None], taken[0])
    np.maximum(shared, 0, out=shared)
    return shared


def _covered(across: Floats, down: Floats) -> Floats:
    """(k,) px² of each place of ``CANDIDATES`` that other labels cover.

    Args:
        across: (7, m) px that left edges make the label share with each of them.
        down: (10, m) px that top edges do.
    """
    along = (down[:AROUND, None] * across[None, :ALONG]).sum(axis=2)
    beside = (down[AROUND:, None] * across[None, ALONG:]).sum(axis=2)
    return np.concatenate((along.ravel(), beside.ravel()))
