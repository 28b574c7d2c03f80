"""The line of an image as text is what its objects are as JSON."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.panoptic import PanopticMap, Segment
from harness.core.run_lengths import Rle
from harness.files.json import USUAL, dump_usual, dumps
from harness.workflows.runs.line_text import line_of, text_of

CATEGORIES = [Category(category_id=13, name="a"), Category(category_id=90, name="ö")]

#: Of a shard's line, and with what has to be escaped.
MORE = {"image_file": "12 34", 'ö"\\\n\x7f': [1, None, True, "\x00\x1f é 𝄞"]}

sides = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1e-5, 1e-4, 1e-3, 1e9])
scores = st.floats(0, 1, width=32)
texts = st.text(st.characters(codec="utf-8"), max_size=6)


def detections(
    boxes: list[list[float]], found: list[float], masks: list[str] | None, points: bool = False
) -> Detections:
    count = len(found)
    keypoints = np.linspace(0, 9, count * 6, dtype=np.float32).reshape(count, 2, 3)
    return Detections(
        image_id=7,
        boxes_xyxy_px=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(found, dtype=np.float32),
        class_index=np.arange(count, dtype=np.int64) % 2,
        masks=None if masks is None else tuple(Rle(4, 6, one) for one in masks),
        keypoints=keypoints if points else None,
    )


@given(st.data(), st.integers(0, 4), st.booleans(), st.booleans())
def test_the_text_is_that_of_the_objects(
    data: st.DataObject, count: int, with_masks: bool, with_points: bool
) -> None:
    def several(one: st.SearchStrategy[object], number: int) -> list[object]:
        return data.draw(st.lists(one, min_size=number, max_size=number))

    boxes = [several(sides, 4) for _ in range(count)]
    masks = several(texts, count) if with_masks else None
    found = detections(boxes, several(scores, count), masks, with_points)  # type: ignore[arg-type]
    expected = dumps({**line_of(found, CATEGORIES), **MORE}).encode()
    assert text_of(found, CATEGORIES, (), MORE) == expected


def test_a_map_of_segments_is_in_the_text() -> None:
    segment = Segment(segment_id=1, is_thing=True, class_index=0, score=1e-7)
    ids = np.ones((4, 6), dtype=np.int64)
    found = detections([[0, 0, 3, 3]], [0.5], ["abc"])
    found = Detections(
        image_id=7,
        boxes_xyxy_px=found.boxes_xyxy_px,
        scores=found.scores,
        class_index=found.class_index,
        masks=found.masks,
        panoptic=PanopticMap(ids=ids, segments=(segment,), classes=None),
    )
    expected = dumps({**line_of(found, CATEGORIES, ()), **MORE}).encode()
    assert text_of(found, CATEGORIES, (), MORE) == expected


def test_a_width_that_is_not_finite_is_refused() -> None:
    found = detections([[-3e38, 0, 3e38, 1]], [0.5], None)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="not JSON compliant"):
        text_of(found, CATEGORIES, (), {})


@given(st.floats(USUAL[0], USUAL[1], exclude_max=True))
def test_usual_numbers_are_written_as_python_writes_them(number: float) -> None:
    for value in (number, -number):
        assert dump_usual([value]) == dumps([value]).encode()


@given(st.integers(), st.text(st.characters(codec="utf-8")))
def test_usual_text_is_written_as_python_writes_it(number: int, text: str) -> None:
    value = {"a": [number, text, {}], text: {"b": ()}}
    assert dump_usual(value) == dumps(value).encode()
