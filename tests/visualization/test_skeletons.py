"""Skeletons are painted where the keypoints are, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.drawing import DrawingStyle
from harness.visualization.overlays import draw
from harness.visualization.palette import colour_of
from harness.visualization.skeletons import bones_of, coco_skeleton, found_skeleton

BARE = DrawingStyle(boxes=False, labels=False)
POINTS = [[20.0, 20.0, 0.9], [60.0, 20.0, 0.9], [40.0, 70.0, 0.01]]


def drawn(points: list[list[float]], categories: tuple[Category, ...]) -> np.ndarray:
    detections = Detections(
        image_id=1,
        boxes_xyxy_px=np.array([[10, 10, 90, 90]], dtype=np.float32),
        scores=np.array([0.9], dtype=np.float32),
        class_index=np.array([0]),
        masks=None,
        keypoints=np.array([points], dtype=np.float32),
    )
    return draw(np.zeros((100, 100, 3), np.uint8), detections, ["shape"], BARE, categories)


def test_points_and_lines_are_where_the_keypoints_are() -> None:
    colour = colour_of(0)
    ink = (colour.blue, colour.green, colour.red)
    names = ("a", "b", "c")
    joined = drawn(POINTS, (Category(1, "shape", names, ((1, 2), (2, 3))),))
    assert tuple(joined[20, 20]) == ink
    assert tuple(joined[20, 60]) == ink
    assert tuple(joined[20, 40]) == ink, "the line between the two"
    assert not joined[70, 40].any(), "found too badly to be drawn"
    assert not joined[45, 50].any(), "nor is the line to it"
    loose = drawn(POINTS, (Category(1, "shape", names),))
    assert tuple(loose[20, 20]) == ink
    assert not loose[20, 40].any(), "no skeleton, no line"


def test_rows_of_files_count_from_the_middle_of_a_pixel() -> None:
    row = [19.5, 19.5, 2, 59.5, 19.5, 1, 0, 0, 0]
    skeleton = coco_skeleton(row, found=False)
    assert skeleton.points == ((20.0, 20.0), (60.0, 20.0), None)
    found = found_skeleton(np.array(POINTS, dtype=np.float32))
    assert found.points == ((20.0, 20.0), (60.0, 20.0), None)
    assert found.bones == bones_of(3) == ()


@pytest.mark.parametrize("count", [17])
def test_seventeen_keypoints_are_a_person(count: int) -> None:
    bones = bones_of(count)
    assert len(bones) == 19
    assert {end for bone in bones for end in bone} == set(range(1, count + 1))
