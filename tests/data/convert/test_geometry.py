"""Outlines: cutting keeps exactly the area inside, turning keeps it whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.convert.geometry import area, box_outline, clipped, object_area, scaled, turned
from harness.measure.masks import rasterised

CORNERS = st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), min_size=3, max_size=8)


@given(CORNERS)
def test_what_lies_inside_stays_and_nothing_else(corners: list[tuple[int, int]]) -> None:
    """Compared pixel by pixel on a canvas that holds the whole polygon."""
    outline = [float(number) for corner in corners for number in corner]
    moved = [number + 20 for number in outline]
    whole = rasterised([moved], 80, 80)[20:50, 20:60]
    cut = clipped(outline, 30, 40)
    assert all(0 <= x <= 40 for x in cut[::2])
    assert all(0 <= y <= 30 for y in cut[1::2])
    found = rasterised([[number + 20 for number in cut]], 80, 80)[20:50, 20:60]
    # Where a cut edge begins anew its rasterisation may differ along that edge.
    assert np.count_nonzero(found != whole) <= 2 * (30 + 40) + 4


def test_boxes_are_cut_exactly() -> None:
    assert clipped(box_outline(-5, 10, 15, 50), 30, 40) == pytest.approx(
        [0, 30, 0, 10, 15, 10, 15, 30]
    ) or area(clipped(box_outline(-5, 10, 15, 50), 30, 40)) == pytest.approx(15 * 20)
    assert clipped(box_outline(50, 10, 60, 20), 30, 40) == []
    assert clipped([0, 0, 10, 10, 20, 20], 30, 40) == []
    inside = box_outline(1, 1, 5, 5)
    assert clipped(inside, 30, 40) == inside


@given(st.floats(-720, 720))
def test_turning_keeps_area_and_pivot(degrees: float) -> None:
    box = box_outline(3, 4, 13, 9)
    found = turned(box, degrees, (3, 4))
    assert area(found) == pytest.approx(50)
    assert found[:2] == pytest.approx([3, 4])


def test_turning_is_clockwise_on_a_screen() -> None:
    assert turned([1, 0, 0, 0], 90, (0, 0)) == pytest.approx([0, 1, 0, 0])
    assert scaled([1, 2, 3, 4], 10, 100) == [10, 200, 30, 400]


def test_areas_are_what_parts_enclose_unless_lines_cross() -> None:
    parts = [box_outline(0, 0, 4, 5), box_outline(10, 0, 14, 5)]
    assert object_area(parts, 40) == 40
    figure_of_eight = [0.0, 0, 10, 10, 10, 0, 0, 10]
    assert area(figure_of_eight) == 0
    assert object_area([figure_of_eight], 50) == 50
