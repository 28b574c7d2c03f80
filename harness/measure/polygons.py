"""Which polygons count, and the limits within which they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

#: x, y, x, y, … in px, as a list or an array.
Polygon = TypeVar("Polygon", Sequence[float], npt.NDArray[np.float64])

#: Three points; fewer enclose no pixel.
LEAST_NUMBERS = 6

#: pycocotools draws polygons point by point, wherever these are: at 1e8 px it crashes.
FARTHEST_PX = 1e5

#: It keeps five points of 20 bytes for every px along an outline: 100 MB, a tenth of a second.
LONGEST_OUTLINE_PX = 1e6

#: Parts of one object. Each is joined with all before it; COCO's objects have at most some dozens.
MOST_POLYGONS = 10_000


def is_usable(polygon: Sequence[Any] | npt.NDArray[np.float64]) -> bool:
    """Whether a polygon counts: pairs of coordinates, three or more.

    Detectron2 drops the others when it loads a data set (``data/datasets/coco.py``). pycocotools
    would read two numbers as the corner of a box, and ignore the last of an odd number.

    Args:
        polygon: x, y, x, y, … in px.
    """
    return len(polygon) >= LEAST_NUMBERS and len(polygon) % 2 == 0


def usable_polygons(polygons: Sequence[Polygon]) -> list[Polygon]:
    """The polygons that count, in their order; none of them changed."""
    return [polygon for polygon in polygons if is_usable(polygon)]


def drawing_fault(polygons: Sequence[Sequence[float]]) -> str | None:
    """Why the polygons of one object are not drawn, as the end of a sentence; None when they are.

    Args:
        polygons: Of finite numbers, in px of the image.
    """
    if len(polygons) > MOST_POLYGONS:
        return f"has {len(polygons):,} polygons; at most {MOST_POLYGONS:,} are drawn"
    farthest = max((max(max(one), -min(one)) for one in polygons if one), default=0)
    if farthest > FARTHEST_PX:
        return f"has a polygon that leaves its image by more than {FARTHEST_PX:,.0f} px"
    # No edge is longer than this; most objects need no closer look.
    if 2 * farthest * sum(map(len, polygons)) <= LONGEST_OUTLINE_PX:
        return None
    length = sum(map(_length_px, polygons))
    if length > LONGEST_OUTLINE_PX:
        return f"has outlines of {length:,.0f} px; at most {LONGEST_OUTLINE_PX:,.0f} px are drawn"
    return None


def _length_px(polygon: Sequence[float]) -> float:
    """The length of a closed outline, every edge counted by its longer side."""
    points = list(zip(polygon[::2], polygon[1::2], strict=False))
    return sum(
        max(abs(x2 - x1), abs(y2 - y1)) for (x1, y1), (x2, y2) in pairwise([*points, *points[:1]])
    )
