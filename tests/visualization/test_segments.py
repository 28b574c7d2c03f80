"""Maps of segments drawn: every pixel in its segment's colour, stuff by its kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.drawing import DrawingStyle
from harness.core.panoptic import PanopticMap, Segment
from harness.visualization.overlays import draw
from harness.visualization.palette import colour_of

SIZE = (60, 80)
NAMES = ("cat", "dog")
PLAIN = DrawingStyle(opacity=1.0, labels=False, colour_by="class")


def found(score: float = 0.9) -> Detections:
    """A dog in the middle of grass, with a strip of nothing at the right."""
    ids = np.ones(SIZE, dtype=np.int32)
    ids[20:40, 20:50] = 2
    ids[:, 70:] = 0
    segments = (
        Segment(segment_id=1, is_thing=False, class_index=3),
        Segment(segment_id=2, is_thing=True, class_index=1, score=score),
    )
    return Detections(
        image_id=1,
        boxes_xyxy_px=np.zeros((0, 4), dtype=np.float32),
        scores=np.zeros(0, dtype=np.float32),
        class_index=np.zeros(0, dtype=np.int64),
        masks=(),
        panoptic=PanopticMap(ids=ids, segments=segments),
    )


def bgr(number: int) -> list[int]:
    colour = colour_of(number)
    return [colour.blue, colour.green, colour.red]


def test_each_segment_has_its_colour_and_nothing_is_left_alone() -> None:
    image = np.full((*SIZE, 3), 77, dtype=np.uint8)
    drawn = draw(image, found(), NAMES, PLAIN)
    assert drawn[30, 35].tolist() == bgr(1)
    assert drawn[5, 10].tolist() == bgr(3 + len(NAMES))
    assert drawn[30, 76].tolist() == [77, 77, 77]
    assert (image == 77).all()


def test_a_thing_below_the_threshold_is_not_drawn() -> None:
    image = np.full((*SIZE, 3), 77, dtype=np.uint8)
    drawn = draw(image, found(score=0.6), NAMES, replace(PLAIN, threshold=0.7))
    assert drawn[30, 35].tolist() == [77, 77, 77]


def test_labels_name_stuff_where_it_is_known() -> None:
    image = np.full((*SIZE, 3), 77, dtype=np.uint8)
    labelled = replace(PLAIN, labels=True, scale=4.0)
    stuff = [Category(1, "sky"), Category(2, "sea"), Category(3, "grass")]
    numbered, named = (
        draw(image, one, NAMES, labelled) for one in (found(), found().with_stuff(stuff))
    )
    assert (numbered != named).any(), "the labels read the same"
    bare = draw(image, found(), NAMES, replace(labelled, labels=False))
    assert (numbered != bare).any()
