"""labelme files as objects: groups, boxes, circles, masks, and what is not an object."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import IntegrityError
from harness.core.run_lengths import decode
from harness.data.convert.formats import labelme
from harness.data.convert.geometry import area
from harness.data.convert.source_annotations import SourceAnnotations, Tally
from tests.data.convert.formats.drawing import labelme_file, shape, written

TRIANGLE = [[0, 0], [10, 0], [0, 10]]
SQUARE = [[20, 20], [30, 20], [30, 30], [20, 30]]


def drawn_from(folder: Path, tally: Tally | None = None) -> SourceAnnotations:
    (drawn,) = labelme.read(folder, tally or Tally())
    return drawn


def test_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    shapes = [
        shape("panda", TRIANGLE, group_id=1),
        shape("panda", SQUARE, group_id=1),
        shape("panda", SQUARE),
        shape("panda", SQUARE),
        shape("red panda", SQUARE, group_id=1),
    ]
    labelme_file(tmp_path / "a.json", shapes)
    objects = drawn_from(tmp_path).objects
    assert [(one.category, len(one.outlines)) for one in objects] == [
        ("panda", 2),
        ("panda", 1),
        ("panda", 1),
        ("red panda", 1),
    ]
    assert objects[0].outlines[0] == [0, 0, 10, 0, 0, 10]


def test_rectangles_are_boxes_whichever_corners_are_given(tmp_path: Path) -> None:
    labelme_file(tmp_path / "a.json", [shape("dice", [[30, 5], [10, 25]], "rectangle")])
    (dice,) = drawn_from(tmp_path).objects
    assert dice.is_box
    assert dice.outlines == ([10, 5, 30, 5, 30, 25, 10, 25],)


def test_circles_are_round(tmp_path: Path) -> None:
    labelme_file(tmp_path / "a.json", [shape("ball", [[40, 30], [43, 34]], "circle")])
    (ball,) = drawn_from(tmp_path).objects
    assert area(ball.outlines[0]) == pytest.approx(math.pi * 25, rel=2e-3)
    assert not ball.is_box


@pytest.mark.parametrize(("left", "top"), [(3, 4), (-2, -1), (75, 58)])
def test_masks_lie_where_their_corner_says(tmp_path: Path, left: int, top: int) -> None:
    part = np.zeros((6, 8), dtype=np.uint8)
    part[1:5, 2:7] = 255
    png = io.BytesIO()
    Image.fromarray(part).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    corners = [[left, top], [left + 7, top + 5]]
    labelme_file(tmp_path / "a.json", [shape("cup", corners, "mask", mask=mask)])
    (cup,) = drawn_from(tmp_path).objects
    assert cup.mask is not None
    expected = {
        (top + y, left + x)
        for y in range(1, 5)
        for x in range(2, 7)
        if 0 <= top + y < 60 and 0 <= left + x < 80
    }
    assert {
        (int(y), int(x)) for y, x in zip(*np.nonzero(decode(cup.mask)), strict=True)
    } == expected


def test_what_is_no_object_is_counted(tmp_path: Path) -> None:
    shapes = [
        shape("road", [[0, 0], [5, 5]], "line"),
        shape("eye", [[3, 3]], "point"),
        shape("__ignore__", SQUARE),
        shape("cup", [[0, 0], [3, 3]], "mask", mask="no PNG"),
        {"label": "without points"},
        shape("panda", SQUARE),
    ]
    labelme_file(tmp_path / "a.json", shapes)
    tally = Tally()
    assert [one.category for one in drawn_from(tmp_path, tally).objects] == ["panda"]
    assert {one.what: one.count for one in tally.objects.values()} == {
        "drawn as a line, which has no area": 1,
        "drawn as a point, which has no area": 1,
        "labelled __ignore__": 1,
        "whose mask cannot be read": 1,
        "without a label and points": 1,
    }
    assert tally.objects["labelled __ignore__"].first == f"{tmp_path / 'a.json'}: shape 2"


def test_other_json_is_passed_over_and_broken_json_is_an_error(tmp_path: Path) -> None:
    labelme_file(tmp_path / "a.json", [])
    written(tmp_path / "other.json", {"some": "settings"})
    tally = Tally()
    assert drawn_from(tmp_path, tally).objects == ()
    assert next(iter(tally.notes.values())).first == str(tmp_path / "other.json")
    (tmp_path / "broken.json").write_text('{"shapes": [', encoding="utf-8")
    with pytest.raises(IntegrityError, match="broken"):
        list(labelme.read(tmp_path, Tally()))


def test_embedded_images_are_given_only_when_asked(tmp_path: Path) -> None:
    data = base64.b64encode(b"bytes of an image").decode()
    labelme_file(tmp_path / "a.json", [], imageData=data, imagePath="..\\photos\\a.jpg")
    drawn = drawn_from(tmp_path)
    assert drawn.embedded is not None
    assert drawn.embedded() == b"bytes of an image"
    assert drawn.names[0] == "..\\photos\\a.jpg"
