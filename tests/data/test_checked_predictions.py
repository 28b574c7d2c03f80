"""Rows that are looked at column by column get the verdict that a look at each one gives."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.core.errors import IntegrityError
from harness.core.rle_text import spell
from harness.data.predictions import checked_predictions
from harness.data.shapes import Masks

CONTENT = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 4, "width": 5},
        {"id": 2, "file_name": "b.jpg", "height": 6, "width": 3},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [],
}
SIZES = {1: [4, 5], 2: [6, 3]}


def row(image: int = 1) -> dict[str, Any]:
    height, width = SIZES[image]
    return {
        "image_id": image,
        "category_id": 7,
        "bbox": [0.0, 1, 2.5, 3.0],
        "score": 0.5,
        "segmentation": {"size": [height, width], "counts": spell([3, 2, height * width - 5])},
    }


#: What becomes of a row, by its member; the last is of a mask.
ODD: dict[str, list[Any]] = {
    "image_id": [3, "1", 1.0, True, None],
    "category_id": [2, 7.0, "7"],
    "bbox": [[0, 0, 1], [0, 0, 1, float("nan")], [0, 0, 1, 1e30], None, "abcd", [0, 0, 1, True]],
    "score": [1, float("inf"), "0.5", None],
    "segmentation": [
        None,
        [[0, 0, 1, 0, 1, 1]],
        {"size": [4, 5]},
        {"size": [5, 4], "counts": "0d0"},
        {"size": [4.0, 5], "counts": spell([20])},
        {"size": [True, 5], "counts": spell([20])},
        {"size": (4, 5), "counts": spell([20])},
        {"size": [4, 5], "counts": [10, 10]},
        {"size": [4, 5], "counts": b"0"},
        {"size": [4, 5], "counts": "~"},
        {"size": [4, 5], "counts": ""},
        {"size": [4, 5], "counts": spell([21])},
        {"size": [4, 5], "counts": spell([3, 0, 17])},
        {"size": [4, 5], "counts": spell([20]), "more": 1},
    ],
    "keypoints": [[1.0, 1.0, 0.5], None],
}


def verdict(rows: list[Any]) -> tuple[str, Any]:
    """What is said of rows, or what they become."""
    try:
        return "", checked_predictions(rows, CONTENT, where="file", first=10)
    except IntegrityError as error:
        return error.message, error.hint


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4),
    key=st.sampled_from(sorted(ODD)),
    data=st.data(),
    without=st.booleans(),
)
def test_the_verdict_is_that_of_a_look_at_each_row(
    monkeypatch: pytest.MonkeyPatch,
    images: list[int],
    key: str,
    data: st.DataObject,
    without: bool,
) -> None:
    rows = [row(image) for image in images]
    if data.draw(st.booleans()):
        rows[data.draw(st.integers(0, len(rows) - 1))][key] = data.draw(st.sampled_from(ODD[key]))
    if without:
        for one in rows[: data.draw(st.integers(0, len(rows)))]:
            one.pop("segmentation", None)
    same = copy.deepcopy(rows)

    found = verdict(rows)
    with monkeypatch.context() as patch:
        patch.setattr(Masks, "taken", lambda *_, **__: False)
        expected = verdict(same)

    # As text: what is not a number is not equal to itself.
    assert repr(found) == repr(expected)
    assert repr(rows) == repr(same)


def test_ordinary_rows_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(Masks, "fault", never)

    assert len(checked_predictions([row(1), row(2)], CONTENT, where="file")) == 2


def test_a_spelling_with_an_empty_run_becomes_the_usual_one() -> None:
    rows = [row(1), row(1)]
    rows[1]["segmentation"]["counts"] = spell([3, 0, 2, 0, 0, 15])

    found = checked_predictions(rows, CONTENT, where="file")

    assert found[1]["segmentation"] == {"size": [4, 5], "counts": spell([5, 15])}
    assert found[0] == row(1)
