"""Objects become annotations, or are counted with the reason."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.data.convert.alignment import AlignedAnnotations, whole_mask
from harness.data.convert.geometry import box_outline
from harness.data.convert.source_annotations import SourceObject, Tally
from harness.data.convert.to_coco import ConvertOptions, to_coco


def made(*objects: SourceObject, name: str = "a.jpg") -> AlignedAnnotations:
    return AlignedAnnotations(
        file_name=name, height_px=60, width_px=80, where=name, objects=objects
    )


def cup(**more: object) -> SourceObject:
    return SourceObject(**{"category": "cup", "where": "here", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (cup(outlines=([0.0, 0, 5, 5],)), "of fewer than three points"),
        (cup(outlines=(box_outline(90, 0, 99, 9),)), "without an area inside their image"),
        (cup(outlines=([0.0, 0, 5, 5, 9, 9],)), "without an area inside their image"),
        (
            cup(outlines=([0.0, 0, math.nan, 5, 9, 0],)),
            "with coordinates that are no finite numbers",
        ),
        (cup(outlines=(box_outline(5.1, 5.1, 5.2, 5.2),)), "too small to cover a pixel"),
        (cup(mask=whole_mask(np.zeros((60, 80), dtype=bool))), "whose mask is empty"),
        (cup(category=" ", outlines=(box_outline(0, 0, 9, 9),)), "without a category"),
    ],
)  # fmt: skip
def test_what_is_no_object_is_counted(one: SourceObject, reason: str) -> None:
    tally = Tally()
    content = to_coco([made(one)], ConvertOptions(), tally)
    assert content["annotations"] == []
    assert len(content["images"]) == 1
    assert [(row.what, row.first) for row in tally.objects.values()] == [(reason, "here")]


def test_masks_become_run_lengths_with_their_box_and_area() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:20, 30:35] = True
    (row,) = to_coco([made(cup(mask=whole_mask(mask), crowd=True))], ConvertOptions(), Tally())[
        "annotations"
    ]
    assert (row["bbox"], row["area"], row["iscrowd"]) == ([30, 10, 5, 10], 50, 1)
    assert row["segmentation"]["size"] == [60, 80]


def test_ids_do_not_depend_on_the_order_of_drawings() -> None:
    boxes = [cup(category=name, outlines=(box_outline(0, 0, 9, 9),)) for name in "bac"]
    drawings = [made(boxes[0], name="2.jpg"), made(boxes[1], boxes[2], name="1.jpg")]
    content = to_coco(drawings, ConvertOptions(order=("c",)), Tally())
    assert content == to_coco(drawings[::-1], ConvertOptions(order=("c",)), Tally())
    assert [row["name"] for row in content["categories"]] == ["c", "a", "b"]
    assert [row["id"] for row in content["annotations"]] == [1, 2, 3]
    assert [row["category_id"] for row in content["annotations"]] == [2, 1, 3]


def test_several_files_about_one_image_are_joined_and_slips_of_the_pen_told() -> None:
    tally = Tally()
    box = box_outline(0, 0, 9, 9)
    two = [made(cup(outlines=(box,))), made(cup(category="Cup", outlines=(box,)))]
    content = to_coco(two, ConvertOptions(), tally)
    assert len(content["images"]) == 1
    assert {row.what: row.first for row in tally.notes.values()} == {
        "files about an image that another one describes: joined": "a.jpg",
        "categories that differ in case only": "Cup, cup",
    }
