"""Whatever is wrong comes out right or counted, and what is right does not change."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError
from harness.data.coco import read_annotations
from harness.data.convert.source_annotations import Tally
from harness.data.edit.cleaning import Cleaning, cleaned
from tests.data.convert.formats.drawing import photograph

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def row(number: int, **more: Any) -> dict[str, Any]:
    base = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 10, 20, 20], "area": 400}
    return {"id": number, **base, "segmentation": [list(SQUARE)], **more}


def content(*rows: Any, **more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 80, "license": 3}],
        "annotations": list(rows),
        "categories": [{"id": 1, "name": "cup", "supercategory": "kitchen"}],
        **more,
    }


def test_real_coco_does_not_change(shared_data: Path) -> None:
    path = shared_data / "coco/annotations/instances_val2017.json"
    before = read_annotations(path)
    tally = Tally()
    after = cleaned(deepcopy(before), Cleaning(images=shared_data / "coco/val2017"), tally)
    assert after == before
    assert tally == Tally()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"segmentation": []}, "with an empty segmentation"),
        ({"segmentation": [[1, 1, 5, 5]]}, "with a degenerate segmentation"),
        ({"segmentation": [[1, 1, 5, 5, 9, 9]]}, "without an area inside their image"),
        ({"segmentation": [[90, 1, 99, 1, 99, 9]]}, "without an area inside their image"),
        ({"segmentation": "zigzag"}, "whose segmentation cannot be read in its image"),
        (
            {"segmentation": {"size": [5, 5], "counts": [25]}},
            "whose segmentation cannot be read in its image",
        ),
        ({"segmentation": {"size": [60, 80], "counts": [4800]}}, "whose mask covers no pixel"),
        ({"image_id": 7}, "of an image that is not listed, or was left out"),
        ({"category_id": 7}, "of a category that is not listed"),
        ({"category_id": [1]}, "of a category that is not listed"),
        ({"id": 9}, "there twice"),
    ],
)
def test_what_is_no_object_is_left_out(wrong: dict[str, Any], reason: str) -> None:
    tally = Tally()
    after = cleaned(content(row(1), row(2, **wrong)), Cleaning(), tally)
    assert [one["id"] for one in after["annotations"]] == [1]
    assert list(tally.objects) == [reason]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bbox": [10, 10, 0, 0]},
        {"bbox": [0, 0, 70, 50]},
        {"bbox": None},
        {"area": 0},
        {"area": 7000},
        {"area": float("nan")},
        {"iscrowd": None},
        {"iscrowd": "0"},
    ],
)
def test_boxes_areas_and_flags_are_put_right(wrong: dict[str, Any]) -> None:
    tally = Tally()
    after = cleaned(content({**row(1), **wrong}), Cleaning(), tally)
    assert after["annotations"] == [row(1)]
    assert len(tally.notes) == (0 if "iscrowd" in wrong else 1)


def test_polygons_are_cut_at_the_border() -> None:
    outside = [[-10, 10, 20, 10, 20, 30, -10, 30]]
    after = cleaned(content(row(1, segmentation=outside)), Cleaning(), Tally())
    (one,) = after["annotations"]
    assert (one["bbox"], one["area"]) == ([0, 10, 20, 20], 400)
    assert min(one["segmentation"][0][::2]) == 0


def test_boxes_are_the_content_of_a_file_without_masks() -> None:
    rows = [
        row(1, segmentation=[], bbox=[70, 50, 20, 20], area=400),
        row(2, segmentation=[], bbox=[5, 5, 0, 9]),
    ]
    tally = Tally()
    (one,) = cleaned(content(*rows), Cleaning(), tally)["annotations"]
    assert (one["bbox"], one["area"], "segmentation" in one) == ([70, 50, 10, 10], 100, False)
    assert list(tally.objects) == ["whose box has no area"]
    mixed = content(row(1), row(2, segmentation=[], bbox=[40, 40, 9, 9], area=81))
    assert len(cleaned(mixed, Cleaning(keep_boxes=True), Tally())["annotations"]) == 2


def test_names_that_repeat_and_ids_with_gaps() -> None:
    """Three categories called Person, ids from 0: a real export had them."""
    names = ["Car", "Person", "Person", "Person"]
    categories = [{"id": 2 * number, "name": name} for number, name in enumerate(names)]
    rows = [row(number, category_id=2 * number, bbox=[10, 10, 20, 20]) for number in range(4)]
    for number, one in enumerate(rows):
        one["segmentation"][0][0] += number * 0.1
    odd = content(*rows, categories=categories)

    def after(**asked: Any) -> tuple[list[tuple[int, str]], list[int]]:
        found = cleaned(deepcopy(odd), Cleaning(**asked), Tally())
        kinds = [(one["id"], one["name"]) for one in found["categories"]]
        return kinds, [one["category_id"] for one in found["annotations"]]

    assert after()[0] == [(0, "Car"), (2, "Person"), (4, "Person"), (6, "Person")]
    apart = [(1, "Car"), (2, "Person"), (3, "Person (2)"), (4, "Person (3)")]
    assert after(same_names="apart", renumber=True) == (apart, [1, 2, 3, 4])
    assert after(same_names="merge") == ([(0, "Car"), (2, "Person")], [0, 2, 2, 2])


def test_images_missing_broken_or_there_twice(tmp_path: Path) -> None:
    first = photograph(tmp_path / "a.png", 80, 60)
    (tmp_path / "twin.png").write_bytes(first.read_bytes())
    photograph(tmp_path / "small.png", 8, 6)
    (tmp_path / "broken.png").write_bytes(b"no image")
    names = ["a.png", "twin.png", "small.png", "broken.png", "gone.png", "a.png"]
    images = [
        {"id": number, "file_name": name, "height": 60, "width": 80}
        for number, name in enumerate(names)
    ]
    rows = [
        row(1, image_id=0),
        row(2, image_id=1),
        row(3, image_id=5, segmentation=[[1, 1, 9, 1, 9, 9]]),
    ]
    tally = Tally()
    after = cleaned(content(*rows, images=images), Cleaning(images=tmp_path), tally)
    assert [one["file_name"] for one in after["images"]] == ["a.png"]
    assert [(one["id"], one["image_id"]) for one in after["annotations"]] == [(1, 0), (3, 0)]
    assert set(tally.images) == {
        "the same image as another",
        "of another size than listed",
        "whose file is not a readable image",
        "whose file is missing",
        "listed again: annotations joined",
    }


def test_sizes_that_are_not_in_the_file_are_read_from_the_image(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 80, 60)
    images = [{"id": 1, "file_name": "a.jpg"}]
    tally = Tally()
    after = cleaned(content(row(1), images=images), Cleaning(images=tmp_path), tally)
    assert after["images"] == [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 80}]
    assert cleaned(content(images=images), Cleaning(), tally)["images"] == []
    assert list(tally.images) == ["without a height and a width"]


def test_ids_of_text_become_numbers_and_shared_ones_new(tmp_path: Path) -> None:
    images = [{"id": "x1", "file_name": "a.jpg", "height": 60, "width": 80}]
    moved = [[20, 20, 30, 20, 30, 30]]
    odd = content(row(5, image_id="x1"), row(5, image_id="x1", segmentation=moved), images=images)
    after = cleaned(odd, Cleaning(), Tally())
    assert [one["id"] for one in after["annotations"]] == [5, 6]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(after), encoding="utf-8")
    assert read_annotations(path)["images"][0]["id"] == 1


def test_what_cannot_be_decided_is_an_error() -> None:
    images = [
        {"id": 1, "file_name": name, "height": 60, "width": 80} for name in ("a.jpg", "b.jpg")
    ]
    with pytest.raises(IntegrityError, match=r"two images, a\.jpg and b\.jpg"):
        cleaned(content(images=images), Cleaning(), Tally())
    categories = [{"id": 1, "name": "cup"}, {"id": 1, "name": "dice"}]
    with pytest.raises(IntegrityError, match="cup and of dice"):
        cleaned(content(categories=categories), Cleaning(), Tally())


def test_boxes_stay_in_a_file_of_which_no_polygon_counts() -> None:
    rows = [row(1, segmentation=[[]]), row(2, segmentation=[[1, 1, 5, 5]], bbox=[1, 1, 5, 5])]
    tally = Tally()
    after = cleaned(content(*rows), Cleaning(), tally)
    assert ["segmentation" in one for one in after["annotations"]] == [False, False]
    assert "objects whose polygons do not count: their boxes are kept" in tally.notes
    tally = Tally()
    after = cleaned(content(*rows, row(3)), Cleaning(), tally)
    assert [one["id"] for one in after["annotations"]] == [3]
    after = cleaned(content(*rows, row(3)), Cleaning(keep_boxes=True), Tally())
    assert [one["id"] for one in after["annotations"]] == [1, 2, 3]


@pytest.mark.parametrize(("told", "crowd"), [("0", 0), ("1", 1), (1.0, 1), (None, 0), ("false", 0)])
def test_flags_are_read_as_what_they_say(told: Any, crowd: int) -> None:
    (one,) = cleaned(content(row(1, iscrowd=told)), Cleaning(), Tally())["annotations"]
    assert one["iscrowd"] == crowd
    with pytest.raises(IntegrityError, match="annotation 1: iscrowd 'some' is neither"):
        cleaned(content(row(1, iscrowd="some")), Cleaning(), Tally())


def test_names_lose_their_spaces_and_numbers_may_be_text(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": " cup "},
        {"id": 2, "name": "cup"},
        {"id": 3, "name": "c\ud800"},
    ]
    images = [{"id": 1, "file_name": "a.jpg", "height": "60", "width": 80.0}]
    rows = [row(1, bbox=["10", "10", "20", "20"], segmentation=None, category_id=2)]
    tally = Tally()
    odd = content(*rows, categories=categories, images=images)
    after = cleaned(odd, Cleaning(same_names="merge"), tally)
    assert [one["name"] for one in after["categories"]] == ["cup", "c?"]
    assert after["images"][0]["height"] == 60
    assert after["annotations"][0]["bbox"] == [10, 10, 20, 20]
    assert after["annotations"][0]["category_id"] == 1
    assert {"categories merged with another of their name", "box(es) of text made numbers"} <= set(
        tally.notes
    )


def test_images_that_no_file_can_be_are_left_out(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 80, 60)
    names = ["a.jpg", "nul\0.jpg", "x" * 300 + ".jpg", "\ud800.jpg", "line\nfeed.jpg"]
    images = [
        {"id": number, "file_name": name, "height": 60, "width": 80}
        for number, name in enumerate(names, start=1)
    ]
    tally = Tally()
    after = cleaned(content(row(1), images=images), Cleaning(images=tmp_path), tally)
    assert [one["file_name"] for one in after["images"]] == ["a.jpg"]
    assert sum(one.count for one in tally.images.values()) == 4
    assert all(one.first.isprintable() for one in tally.images.values())


def test_one_file_in_two_sizes_is_not_joined() -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "height": 60, "width": 80},
        {"id": 2, "file_name": "a.jpg", "height": 600, "width": 800},
    ]
    tally = Tally()
    rows = [row(1), row(2, image_id=2, bbox=[300, 300, 20, 20])]
    after = cleaned(content(*rows, images=images), Cleaning(), tally)
    assert [one["id"] for one in after["annotations"]] == [1]
    assert list(tally.images) == ["listed again in another size"]


@pytest.mark.parametrize("told", [2**63, 2**70, -(2**63) - 1, "7", None, True])
def test_ids_that_no_file_may_hold_become_new_ones(tmp_path: Path, told: Any) -> None:
    """What was cleaned is read without a fault, also beside the largest id there may be."""
    for other in (5, 2**63 - 1):
        tally = Tally()
        after = cleaned(
            content(
                row(other),
                {
                    **row(0),
                    "id": told,
                    "bbox": [40, 10, 20, 20],
                    "segmentation": [[40, 10, 60, 10, 60, 30, 40, 30]],
                },
            ),
            Cleaning(),
            tally,
        )
        (tmp_path / "a.json").write_text(json.dumps(after), encoding="utf-8")
        ids = [one["id"] for one in read_annotations(tmp_path / "a.json")["annotations"]]
        assert len(set(ids)) == 2
        assert other in ids
        assert tally.notes
