"""Outlines are the mask, exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.measure.masks import encode_region
from harness.serve.responses import outlines

Mask = npt.NDArray[np.bool_]


def outlines_of(mask: Mask) -> list[list[int]]:
    height, width = mask.shape
    return outlines(encode_region(mask, top_px=0, left_px=0, height_px=height, width_px=width))


def filled(polygons: list[list[int]], height: int, width: int) -> Mask:
    """By the even-odd rule: the pixels left of which an odd number of vertical edges lies."""
    crossings = np.zeros((height, width + 1), dtype=int)
    for polygon in polygons:
        points = list(zip(polygon[::2], polygon[1::2], strict=True))
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            assert (x0 == x1) != (y0 == y1), "edges are of pixels"
            if x0 == x1:
                crossings[min(y0, y1) : max(y0, y1), x0] += 1
    inside: Mask = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    return inside


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()))
def test_filled_they_are_the_mask(mask: Mask) -> None:
    assert (filled(outlines_of(mask), *mask.shape) == mask).all()


def test_a_rectangle_has_four_corners() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:5, 3:8] = True
    assert outlines_of(mask) == [[3, 2, 8, 2, 8, 5, 3, 5]]


def test_a_hole_turns_the_other_way() -> None:
    mask = np.ones((5, 5), dtype=bool)
    mask[2, 2] = False
    assert sorted(map(signed_area, outlines_of(mask))) == [-1, 25]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    assert len(outlines_of(np.eye(3, dtype=bool))) == 3


def test_nothing_has_no_outline() -> None:
    assert outlines_of(np.zeros((4, 4), dtype=bool)) == []


def signed_area(polygon: list[int]) -> float:
    x, y = np.array(polygon[::2]), np.array(polygon[1::2])
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
