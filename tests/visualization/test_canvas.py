"""Labels that keep off each other and stay in the picture."""

from __future__ import annotations

import itertools

import numpy as np

from harness.visualization.canvas import place_labels

SIZE = (60, 16)


def placed(boxes: list[tuple[int, int, int, int]], **sides: int) -> list[tuple[int, int] | None]:
    found = np.array(boxes, dtype=np.float64)
    return place_labels(found, [SIZE] * len(boxes), **{"height_px": 400, "width_px": 600, **sides})


def overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    across = min(one[0], other[0]) + SIZE[0] - max(one[0], other[0])
    down = min(one[1], other[1]) + SIZE[1] - max(one[1], other[1])
    return max(across, 0) * max(down, 0)


def test_a_label_stands_on_its_box() -> None:
    assert placed([(100, 100, 200, 200)]) == [(100, 100 - SIZE[1])]


def test_at_the_border_it_stays_inside() -> None:
    [top] = placed([(0, 0, 50, 50)])
    [corner] = placed([(580, 390, 600, 400)])
    assert top == (0, 0)
    assert corner is not None
    assert 0 <= corner[0] <= 600 - SIZE[0]
    assert 0 <= corner[1] <= 400 - SIZE[1]


def test_many_labels_at_one_place_keep_off_each_other() -> None:
    places = [place for place in placed([(200, 200, 320, 300)] * 12) if place is not None]
    assert len(places) == 12
    small = 0.03 * SIZE[0] * SIZE[1]
    assert all(overlap(*pair) <= small for pair in itertools.combinations(places, 2))


def test_the_first_chooses_first() -> None:
    alone = placed([(200, 200, 320, 300)])[0]
    assert placed([(200, 200, 320, 300)] * 3)[0] == alone


def test_what_nobody_could_read_is_left_out() -> None:
    places = placed([(0, 0, 60, 20)] * 40, height_px=40, width_px=70)
    assert places[0] is not None
    assert None in places


def test_a_label_larger_than_its_picture_begins_at_its_edge() -> None:
    assert placed([(2, 2, 8, 8)], height_px=10, width_px=10) == [(0, 0)]
