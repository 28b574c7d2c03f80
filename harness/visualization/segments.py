"""Maps of segments as objects to be painted: stuff first, things on top of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.drawing import DrawingStyle
from harness.measure.masks import encode_region
from harness.visualization.canvas import Drawn
from harness.visualization.palette import colour_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSegment:
    """One segment of a map, and what is written on it."""

    number: int
    """Its number in the map."""

    is_thing: bool
    """Whether it is a single object."""

    class_number: int
    """The same for all of its category."""

    text: str
    """Its label."""


def segment_objects(
    ids: npt.NDArray[np.int32], segments: Iterable[ShownSegment], style: DrawingStyle
) -> list[Drawn]:
    """The segments of a map, each without a box: together they cover the image.

    Args:
        ids: (H, W), the number of each pixel's segment.
        segments: Those that are drawn; each has a pixel.
        style: How to draw. Of stuff the colour is always that of its category.
    """
    ordered = sorted(segments, key=lambda one: one.is_thing)
    drawn = []
    for position, one in enumerate(ordered):
        where = ids == one.number
        rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        mask = encode_region(
            where[top:bottom, left:right],
            top_px=top,
            left_px=left,
            height_px=ids.shape[0],
            width_px=ids.shape[1],
        )
        by_class = style.colour_by == "class" or not one.is_thing
        drawn.append(
            Drawn(
                box_xyxy_px=(float(left), float(top), float(right), float(bottom)),
                mask=mask,
                colour=colour_of(one.class_number if by_class else position),
                text=one.text if style.labels else "",
                box=False,
            )
        )
    return drawn
