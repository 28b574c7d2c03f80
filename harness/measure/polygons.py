"""The one rule about which polygons count, for everything that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

#: x, y, x, y, … in px, as a list or an array.
Polygon = TypeVar("Polygon", Sequence[float], npt.NDArray[np.float64])

#: Three points; fewer enclose no pixel.
LEAST_NUMBERS = 6


def is_usable(polygon: Sequence[Any] | npt.NDArray[np.float64]) -> bool:
    """Whether a polygon counts: pairs of coordinates, three or more.

    Detectron2 drops the others when it loads a data set (``data/datasets/coco.py``). pycocotools
    would read two numbers as the corner of a box, and forget the last of an odd number.
    """
    return len(polygon) >= LEAST_NUMBERS and len(polygon) % 2 == 0


def usable_polygons(polygons: Sequence[Polygon]) -> list[Polygon]:
    """The polygons that count, in their order; none of them changed."""
    return [polygon for polygon in polygons if is_usable(polygon)]
