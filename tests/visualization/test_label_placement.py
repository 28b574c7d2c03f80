"""Labels that keep off each other and stay in the picture."""

from __future__ import annotations

import itertools

import numpy as np

from harness.visualization.label_placement import (
    ACROSS,
    FROM_BOTTOM,
    FROM_TOP,
    MOST_COVERED,
    SLACK,
    place_labels,
)

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


def tried(box: list[float], width: int, height: int) -> list[tuple[float, float]]:
    """Every (left, top) around a box, in the order of preference."""
    x1, y1, x2, y2 = box
    lefts = [x1 + share * max(x2 - x1 - width, 0) for share in ACROSS]
    tops = [y1 + rows * height for rows in FROM_TOP] + [y2 + rows * height for rows in FROM_BOTTOM]
    beside = [(x2, y1), (x1 - width, y1), (x2, y2 - height), (x1 - width, y2 - height)]
    return [(left, top) for top in tops for left in lefts] + beside


def one_by_one(
    boxes: np.ndarray, sizes: list[tuple[int, int]], height_px: int, width_px: int
) -> list[tuple[int, int] | None]:
    """The places of labels by the rule as it is written, every pair of rectangles for itself."""
    taken: list[tuple[float, float, int, int]] = []
    places: list[tuple[int, int] | None] = []
    for box, (width, height) in zip(boxes.tolist(), sizes, strict=True):
        found = []
        for left, top in tried(box, width, height):
            x, y = (
                min(max(left, 0), max(width_px - width, 0)),
                min(max(top, 0), max(height_px - height, 0)),
            )
            covered = sum(
                max(min(x + width, left + wide) - max(x, left), 0)
                * max(min(y + height, top + high) - max(y, top), 0)
                for left, top, wide, high in taken
            )
            found.append((covered, x, y))
        free = [one for one in found if one[0] <= SLACK * width * height]
        covered, x, y = free[0] if free else min(found, key=lambda one: one[0])
        if covered > MOST_COVERED * width * height:
            places.append(None)
            continue
        taken.append((x, y, width, height))
        places.append((round(x), round(y)))
    return places


def test_labels_of_a_crowd_are_placed_as_if_each_pair_were_looked_at() -> None:
    draws = np.random.default_rng(0)
    for count, side in ((80, 640), (60, 120), (12, 50)):
        boxes = draws.integers(0, side, size=(count, 4)).astype(np.float64)
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] / 2
        sizes = [(int(width), 15) for width in draws.integers(20, 90, size=count)]
        found = place_labels(boxes, sizes, height_px=side, width_px=side + 40)
        assert found == one_by_one(boxes, sizes, side, side + 40)
        assert any(place is not None for place in found)


def test_no_labels_have_no_places() -> None:
    assert place_labels(np.zeros((0, 4)), [], height_px=10, width_px=10) == []
