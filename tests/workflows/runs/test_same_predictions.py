"""Which images two files predict the same for."""

from __future__ import annotations

import random
from typing import Any

import pytest

from harness.workflows.runs.same_predictions import FEW, differing_images

Row = dict[str, Any]


def row(image: int, score: float, box: list[float], category: int = 1, **more: Any) -> Row:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score, **more}


def many(count: int) -> list[Row]:
    drawn = random.Random(7)
    return [
        row(
            number % 3,
            drawn.random(),
            [drawn.uniform(0, 300), drawn.uniform(0, 300), drawn.uniform(1, 99), 20.5],
            category=drawn.randrange(4),
        )
        for number in range(count)
    ]


def as_corners_are_read(one: Row) -> Row:
    """The row as of a file of corners with two decimals, and of scores with five."""
    x, y, width, height = one["bbox"]
    left, top, right, bottom = (round(side, 2) for side in (x, y, x + width, y + height))
    return {
        **one,
        "score": round(one["score"], 5),
        "bbox": [left, top, right - left, bottom - top],
        "file_name": "1.jpg",
    }


@pytest.mark.parametrize("count", [0, 1, 90, 12 * FEW])
def test_rows_of_another_format_and_order_are_the_same(count: int) -> None:
    rows = many(count)
    other = [as_corners_are_read(one) for one in rows]
    random.Random(1).shuffle(other)
    assert differing_images(rows, other) == {}


def test_what_rounding_cannot_explain_differs() -> None:
    rows = many(90)
    moved = [dict(one) for one in rows]
    moved[4]["bbox"] = [moved[4]["bbox"][0] + 0.05, *moved[4]["bbox"][1:]]
    moved[5]["score"] += 0.001
    moved[8]["category_id"] += 1
    assert differing_images(rows, moved) == {1: 1, 2: 2}
    assert differing_images(rows, rows[1:]) == {0: 1}
    assert differing_images(rows, []) == {0: 30, 1: 30, 2: 30}


def test_a_row_has_one_equal() -> None:
    one = row(3, 0.5, [1.0, 2.0, 3.0, 4.0])
    assert differing_images([one, one], [one]) == {3: 1}


def test_masks_count_where_both_have_them() -> None:
    box = [1.0, 2.0, 3.0, 4.0]
    first = row(3, 0.5, box, segmentation={"size": [9, 9], "counts": "a"})
    second = row(3, 0.5, box, segmentation={"size": [9, 9], "counts": "b"})
    assert differing_images([first], [second]) == {3: 1}
    assert differing_images([first], [row(3, 0.5, box)]) == {}
