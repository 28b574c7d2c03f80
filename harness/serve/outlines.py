"""Masks as polygons along the edges of their pixels."""

from __future__ import annotations

import numpy as np

from harness.core.detections import Rle
from harness.measure.masks import decode_region

Point = tuple[int, int]


def outlines(mask: Rle) -> list[list[int]]:
    """Trace the outlines of a mask.

    Corners are corners of pixels: filled by the even-odd rule, the outlines are the mask exactly.
    COCO's polygons have no holes: a reader that forms their union fills the holes.

    Args:
        mask: In pixels of the image.

    Returns:
        Closed outlines x, y, x, y, … in px; of a hole too, in the opposite direction.
    """
    region = decode_region(mask)
    ways = _edges(np.pad(region.pixels, 1).astype(np.int8))
    found = []
    while ways:
        start = next(iter(ways))
        loop = _loop(ways, start)
        found.append(
            [
                number
                for x, y in _corners(loop)
                for number in (x - 1 + region.left_px, y - 1 + region.top_px)
            ]
        )
    return found


def _edges(pixels: np.ndarray) -> dict[Point, list[Point]]:
    """Return the next corners from each corner (x, y), with the mask on the right-hand side."""
    ways: dict[Point, list[Point]] = {}
    down = np.diff(pixels, axis=0)  # +1: the mask begins below the edge
    for sign, (begin, end) in ((1, (0, 1)), (-1, (1, 0))):
        for y, x in np.argwhere(down == sign).tolist():
            ways.setdefault((x + begin, y + 1), []).append((x + end, y + 1))
    right = np.diff(pixels, axis=1)  # +1: the mask begins right of the edge
    for sign, (begin, end) in ((1, (1, 0)), (-1, (0, 1))):
        for y, x in np.argwhere(right == sign).tolist():
            ways.setdefault((x + 1, y + begin), []).append((x + 1, y + end))
    return ways


def _loop(ways: dict[Point, list[Point]], start: Point) -> list[Point]:
    """Return one closed outline from ``start``; its edges are removed from ``ways``."""
    loop, here = [start], start
    while True:
        nexts = ways[here]
        # Where two pixels touch at a corner there are two ways on: keep to the same pixel.
        there = nexts.pop(_right_turn(loop, nexts)) if len(nexts) > 1 else nexts.pop()
        if not nexts:
            del ways[here]
        if there == start:
            return loop
        loop.append(there)
        here = there


def _right_turn(loop: list[Point], nexts: list[Point]) -> int:
    """Return the index in ``nexts`` of the corner that turns right the most."""
    if len(loop) < 2:
        return 0
    (x0, y0), (x1, y1) = loop[-2], loop[-1]
    turns = [(x1 - x0) * (y - y1) - (y1 - y0) * (x - x1) for x, y in nexts]
    return int(np.argmax(turns))


def _corners(loop: list[Point]) -> list[Point]:
    """Return the outline without the points where it does not turn."""
    return [
        here
        for before, here, after in zip(
            loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True
        )
        if (before[0] == here[0]) != (here[0] == after[0])
    ]
