"""Keypoints of an object as points and lines, painted in the object's colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

from harness.data.categories import COCO_PERSON

Ink = tuple[int, int, int]
Bones = Sequence[tuple[int, int]]

#: A found keypoint of a lower score is not drawn (Detectron2 ``visualizer.py``,
#: ``_KEYPOINT_THRESHOLD``).
LEAST_SCORE = 0.05

#: Radius of a point in widths of a line.
POINT_LINES = 1.6


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The keypoints of one object."""

    points: tuple[tuple[float, float] | None, ...]
    """x, y in pixels of the original image, 0.5 being the middle of the first; None for one that is
    not labelled, or not found well enough.
    """

    bones: tuple[tuple[int, int], ...]
    """Pairs of keypoints that a line connects, counted from 1, as COCO does."""


def bones_of(count: int) -> Bones:
    """The lines between so many keypoints where no category names them: COCO's for a person."""
    return COCO_PERSON.skeleton if count == len(COCO_PERSON.keypoints) else ()


def found_skeleton(points: npt.NDArray[np.float32], bones: Bones | None = None) -> Skeleton:
    """The keypoints of a detection.

    Args:
        points: (K, 3), as in ``Detections.keypoints``.
        bones: Bones of its category; None for ``bones_of``.
    """
    kept = [
        (float(x), float(y)) if score >= LEAST_SCORE else None for x, y, score in points.tolist()
    ]
    return Skeleton(tuple(kept), tuple(bones_of(len(kept)) if bones is None else bones))


def coco_skeleton(flat: Sequence[float], *, found: bool) -> Skeleton:
    """The keypoints of a COCO annotation or result.

    Args:
        flat: x, y, v, x, y, v, …, in px of which 0 is the middle of the first.
        found: Whether the third numbers are scores rather than visibilities.
    """
    least = LEAST_SCORE if found else 1
    kept = [
        (float(x) + 0.5, float(y) + 0.5) if flag >= least else None
        for x, y, flag in zip(flat[0::3], flat[1::3], flat[2::3], strict=True)
    ]
    return Skeleton(tuple(kept), tuple(bones_of(len(kept))))


def paint_skeleton(
    pen: ImageDraw.ImageDraw,
    skeleton: Skeleton,
    scale: float,
    line_px: int,
    *,
    ink: Ink,
    dark: Ink,
) -> None:
    """Paint lines, then points, each on a dark one that shows on any ground.

    Args:
        pen: Pen of the picture.
        skeleton: In px of the original image.
        scale: Scale of the picture.
        line_px: Width of a line.
        ink: Colour of the object.
        dark: Colour around it.
    """
    places = [None if one is None else (one[0] * scale, one[1] * scale) for one in skeleton.points]
    ends = [(places[first - 1], places[second - 1]) for first, second in skeleton.bones]
    lines = [(one, other) for one, other in ends if one is not None and other is not None]
    for width, colour in ((line_px + 2, dark), (line_px, ink)):
        for line in lines:
            pen.line(line, fill=colour, width=width)
    for place in places:
        if place is not None:
            pen.circle(place, POINT_LINES * line_px, fill=ink, outline=dark)
