"""Label Studio's exports, real ones of ``../shared/data`` and small ones of our own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.run_lengths import decode
from harness.data.convert.formats import labelstudio
from harness.data.convert.geometry import area, scaled
from harness.data.convert.source_annotations import SourceAnnotations, Tally
from tests.data.convert.formats.drawing import written
from tests.data.convert.formats.test_brush import encoded, rgba


def result(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"{kind}-{len(str(value))}",
        "type": kind,
        "value": value,
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        **more,
    }


def polygon(label: str, side: float = 10) -> dict[str, Any]:
    points = [[0, 0], [side, 0], [side, side]]
    return result("polygonlabels", {"points": points, "polygonlabels": [label]})


def task(*annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    image = "/data/upload/3/1a2b3c4d-cat.jpg"
    return {"id": 1, "data": {"image": image, **data}, "annotations": list(annotations)}


def annotation(number: int, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "completed_by": number, "result": list(results), **more}


def drawings(tmp_path: Path, content: Any, tally: Tally, **options: Any) -> list[SourceAnnotations]:
    path = written(tmp_path / "export.json", content)
    return list(labelstudio.read(path, tally, **options))


def one_object(tmp_path: Path, region: dict[str, Any]) -> Any:
    tally = Tally()
    (drawn,) = drawings(tmp_path, [task(annotation(1, region))], tally)
    assert not tally.objects
    (only,) = drawn.objects
    return only


def test_a_real_export_of_rectangles(shared_data: Path) -> None:
    path = shared_data / "other" / "labelstudio" / "data.json"
    tally = Tally()
    drawn = list(labelstudio.read(path, tally))
    assert [len(one.objects) for one in drawn] == [2, 2]
    assert {one.category for each in drawn for one in each.objects} == {"parasites", "white"}
    # Two people annotated the first task; the second of them changed it last.
    (others,) = tally.objects.values()
    assert (others.count, "annotation 1" in others.first) == (2, True)
    assert "annotation 2" in drawn[0].where
    first = list(labelstudio.read(path, Tally(), annotator="2"))
    assert "annotation 1" in first[0].where


def test_a_real_export_of_turned_rectangles(shared_data: Path) -> None:
    path = shared_data / "other" / "labelstudio" / "data_obb.json"
    tasks = json.loads(path.read_text(encoding="utf-8"))
    for drawn, told in zip(labelstudio.read(path, Tally()), tasks, strict=True):
        for one, region in zip(drawn.objects, told["annotations"][0]["result"], strict=True):
            width, height = region["original_width"], region["original_height"]
            value = region["value"]
            pixels = scaled(one.outlines[0], width / 100, height / 100)
            assert one.is_box
            # Turning keeps the area in pixels, and the corner it turns about.
            sides = value["width"] * width / 100, value["height"] * height / 100
            assert area(pixels) == pytest.approx(sides[0] * sides[1], rel=1e-9)
            assert one.outlines[0][:2] == pytest.approx([value["x"], value["y"]])
            angle = math.degrees(math.atan2(pixels[3] - pixels[1], pixels[2] - pixels[0]))
            assert (angle - value["rotation"]) % 360 == pytest.approx(0, abs=1e-6) or (
                angle - value["rotation"]
            ) % 360 == pytest.approx(360, abs=1e-6)


def test_a_real_export_of_polygons_is_called_as_its_upload(shared_data: Path) -> None:
    path = shared_data / "other" / "labelstudio" / "data_polygons.json"
    (drawn,) = labelstudio.read(path, Tally())
    assert drawn.size_px == (426, 640)
    assert drawn.names[0].endswith("e97d4735-000000000025.jpg")
    assert [(one.category, one.is_box) for one in drawn.objects] == [("Airplane", False)]


def test_brush_strokes_are_masks(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[1:3, 5:9] = True
    value = {"format": "rle", "rle": encoded(rgba(mask)), "brushlabels": ["cat"]}
    size = {"original_width": 20, "original_height": 10}
    one = one_object(tmp_path, result("brushlabels", value, **size))
    assert np.array_equal(decode(one.mask), mask)


def test_ellipses_turn_about_their_centre(tmp_path: Path) -> None:
    value = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90}
    one = one_object(tmp_path, result("ellipselabels", {**value, "ellipselabels": ["ball"]}))
    pixels = scaled(one.outlines[0], 2, 1)
    # 20 px wide and 10 px high half axes, exchanged by the quarter turn.
    assert max(pixels[::2]) == pytest.approx(110, abs=0.1)
    assert max(pixels[1::2]) == pytest.approx(70, abs=0.1)


def test_labels_may_be_a_control_of_their_own(tmp_path: Path) -> None:
    points = {"points": [[0, 0], [10, 0], [10, 10]], "closed": True}
    regions = (
        result("polygon", points, id="r1"),
        result("labels", {**points, "labels": ["cat"]}, id="r1"),
        result("choices", {"choices": ["indoors"]}, id="c1"),
    )
    tally = Tally()
    (drawn,) = drawings(tmp_path, [task(annotation(1, *regions))], tally)
    assert [one.category for one in drawn.objects] == ["cat"]
    assert not tally.objects


def test_ground_truth_counts_before_the_last_change_and_cancelled_never(tmp_path: Path) -> None:
    content = [
        task(
            annotation(1, polygon("truth"), ground_truth=True, updated_at="2024-01-01"),
            annotation(2, polygon("later"), updated_at="2024-06-01"),
            annotation(3, polygon("cancelled"), was_cancelled=True, updated_at="2024-09-01"),
        )
    ]
    tally = Tally()
    (drawn,) = drawings(tmp_path, content, tally)
    assert [one.category for one in drawn.objects] == ["truth"]
    (later,) = drawings(tmp_path, content, Tally(), annotator="2")
    assert [one.category for one in later.objects] == ["later"]
    with pytest.raises(UsageError, match="one of 1, 2"):
        drawings(tmp_path, content, Tally(), annotator="7")


def test_tasks_nobody_annotated_are_no_empty_images(tmp_path: Path) -> None:
    tally = Tally()
    looked_at = task(annotation(1))
    assert len(drawings(tmp_path, [task(), looked_at], tally)) == 1
    assert [one.count for one in tally.notes.values()] == [1]


@pytest.mark.parametrize("result", [{}, {"result": None}])
def test_an_annotation_without_a_result_is_no_empty_image(
    tmp_path: Path, result: dict[str, Any]
) -> None:
    tally = Tally()
    assert not drawings(tmp_path, [task({"id": 1, "completed_by": 1, **result})], tally)
    assert [one.count for one in tally.notes.values()] == [1]
    # Beside another one it does not count, whatever was changed last.
    found = annotation(2, polygon("cat"), updated_at="2026-01-01")
    later = {"id": 3, "completed_by": 1, "updated_at": "2026-02-01", **result}
    (drawn,) = drawings(tmp_path, [task(found, later)], Tally())
    assert len(drawn.objects) == 1


def test_regions_that_are_no_objects_are_counted(tmp_path: Path) -> None:
    turned_view = {**polygon("cat"), "id": "t", "image_rotation": 90}
    further = {**polygon("cat"), "id": "f", "item_index": 1}
    nameless = result("polygonlabels", {"points": [[0, 0], [1, 0], [1, 1]]}, id="n")
    keypoint = result("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["eye"]})
    broken = result("brushlabels", {"rle": [1, 2], "brushlabels": ["cat"]})
    tally = Tally()
    content = [task(annotation(1, turned_view, further, nameless, keypoint, broken))]
    (drawn,) = drawings(tmp_path, content, tally)
    assert drawn.objects == ()
    assert set(tally.objects) == {
        "drawn on a turned view of their image",
        "on a further image of their task",
        "without a category",
        "drawn as keypointlabels, which has no area",
        "that cannot be read",
    }


def test_the_flat_export_holds_the_same(tmp_path: Path) -> None:
    region = {
        "points": [[0, 0], [10, 0], [10, 10]],
        "polygonlabels": ["cat"],
        "original_width": 200,
        "original_height": 100,
    }
    rows = [
        {"image": "/data/upload/3/1a2b3c4d-cat.jpg", "id": 5, "label": [region], "annotator": who,
         "annotation_id": who, "updated_at": when, "choice": "indoors"}
        for who, when in ((1, "2024-02-01"), (2, "2024-01-01"))
    ]  # fmt: skip
    tally = Tally()
    (drawn,) = drawings(tmp_path, rows, tally)
    assert drawn.size_px == (100, 200)
    assert [one.outlines for one in drawn.objects] == [([0, 0, 10, 0, 10, 10],)]
    assert "annotation 1" in drawn.where
    assert [one.count for one in tally.objects.values()] == [1]


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [
        ({"points": [[0, 0], [10, 0], [10, 10]]}, "polygon"),
        ({"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0}, "rectangle"),
        ({"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0}, "ellipse"),
        ({"x": 50, "y": 50, "width": 0.5}, "keypoint"),
        ({"sequence": [], "framesCount": 3}, "videorectangle"),
        ({}, "labels"),
    ],
)
def test_the_flat_export_of_labels_of_their_own_says_by_its_values_what_was_drawn(
    geometry: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    region = {**geometry, "labels": ["cat"], "original_width": 200, "original_height": 100}
    row = {"image": "cat.jpg", "id": 5, "annotator": 1, "annotation_id": 1}
    for label in ([region], json.dumps([region])):  # as JSON has it, and its CSV made to JSON
        tally = Tally()
        (drawn,) = drawings(tmp_path, [{**row, "label": label}], tally)
        if kind in ("polygon", "rectangle", "ellipse"):
            (one,) = drawn.objects
            assert (one.category, one.is_box) == ("cat", kind == "rectangle")
        else:
            assert drawn.objects == ()
            [dropped] = tally.objects.values()
            assert dropped.what.startswith(f"drawn as {kind}, which ")
            assert dropped.first.endswith("region 0")
    assert drawings(tmp_path, [{**row, "label": "[{not JSON"}], Tally())[0].objects == ()
