"""Outlines: made from circles and turned boxes, scaled, turned, and cut at the border of an image.

An outline is x, y, x, y, … in any unit, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

Point = tuple[float, float]

#: Corners of the polygon that stands for a circle or an ellipse. Chosen: a circle of 100 px radius
#: is missed by at most 0.12 px.
ROUND_CORNERS = 64


def points_of(outline: Sequence[float]) -> list[Point]:
    """The corners of an outline as pairs."""
    return list(zip(outline[::2], outline[1::2], strict=True))


def flat(points: Sequence[Point]) -> list[float]:
    """Pairs as an outline."""
    return [number for point in points for number in point]


def box_outline(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """The four corners of a box.

    Args:
        x1: x of one corner.
        y1: y of the same corner.
        x2: x of the opposite corner.
        y2: y of the opposite corner.
    """
    left, right = sorted((x1, x2))
    top, bottom = sorted((y1, y2))
    return [left, top, right, top, right, bottom, left, bottom]


def turned(outline: Sequence[float], degrees: float, about: Point) -> list[float]:
    """The outline turned clockwise, as seen on a screen.

    Args:
        outline: In a unit that is the same on both axes.
        degrees: By how much.
        about: The point that stays.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = about
    return flat(
        [
            (x0 + (x - x0) * cosine - (y - y0) * sine, y0 + (x - x0) * sine + (y - y0) * cosine)
            for x, y in points_of(outline)
        ]
    )


def ellipse_outline(x: float, y: float, radius_x: float, radius_y: float) -> list[float]:
    """A polygon of ROUND_CORNERS corners on an ellipse, in the unit of the arguments.

    Args:
        x: x of the centre.
        y: y of the centre.
        radius_x: Half of the width.
        radius_y: Half of the height.
    """
    angles = [2 * math.pi * step / ROUND_CORNERS for step in range(ROUND_CORNERS)]
    return flat([(x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles])


def scaled(outline: Sequence[float], x_factor: float, y_factor: float) -> list[float]:
    """Every x and y times its factor."""
    return flat([(x * x_factor, y * y_factor) for x, y in points_of(outline)])


def mapped(outline: Sequence[float], change: Callable[[float, float], Point]) -> list[float]:
    """The outline with every corner replaced.

    Args:
        outline: x, y, x, y, …
        change: New x and y for an old x and y.
    """
    return flat([change(x, y) for x, y in points_of(outline)])


def clipped(outline: Sequence[float], height: float, width: float) -> list[float]:
    """The part of the outline's area inside an image; empty when there is none.

    Cut at one border after the other (Sutherland and Hodgman 1974). Parts that are separated stay
    joined by a line along the border, which has no area.

    Args:
        outline: x, y, x, y, … in the unit of the borders.
        height: The lower border; the upper one is 0.
        width: The right border; the left one is 0.
    """
    points = points_of(outline)
    for axis, limit, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        points = _cut(points, axis, limit, sign)
    return flat(points) if len(points) >= 3 and area(flat(points)) > 0 else []


def _cut(points: list[Point], axis: int, limit: float, sign: int) -> list[Point]:
    """The polygon on the side of a line where sign · (coordinate - limit) is not negative."""
    kept: list[Point] = []
    for before, here in pairwise([*points[-1:], *points]):
        start, end = sign * (before[axis] - limit), sign * (here[axis] - limit)
        if start * end < 0:
            share = start / (start - end)
            crossing = [b + share * (h - b) for b, h in zip(before, here, strict=True)]
            crossing[axis] = limit
            kept.append((crossing[0], crossing[1]))
        if end >= 0:
            kept.append(here)
    return kept


def area(outline: Sequence[float]) -> float:
    """The enclosed area, not negative, by the shoelace formula; what crosses itself may cancel."""
    points = points_of(outline)
    pairs = zip(points, points[1:] + points[:1], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def object_area(outlines: Sequence[Sequence[float]], pixels: int) -> float:
    """The area of an object of several parts, as COCO's files have it: the sum of what they
    enclose (equal to 5e-12 in the 1,765 polygon objects of the 206 images that the tests use).

    Args:
        outlines: The parts, in px.
        pixels: What they cover; it counts where lines that cross hide more than half of it.
    """
    enclosed = sum(area(outline) for outline in outlines)
    return enclosed if enclosed >= pixels / 2 else float(pixels)


def extent_xyxy(outlines: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The smallest box around all of them."""
    xs = [x for outline in outlines for x in outline[::2]]
    ys = [y for outline in outlines for y in outline[1::2]]
    return min(xs), min(ys), max(xs), max(ys)
