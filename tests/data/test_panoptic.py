"""Panoptic annotation files and their PNGs: read, written, and refused with what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from harness.core.errors import IntegrityError
from harness.core.panoptic import PanopticTruth
from harness.data.categories import COCO_CATEGORIES, COCO_STUFF, stuff_of
from harness.data.panoptic import panoptic_truth, png_of, read_ids

SIZE = (4, 6)

CONTENT: dict[str, Any] = {
    "categories": [
        {"id": 92, "name": "sky", "isthing": 0},
        {"id": 1, "name": "cat", "isthing": 1},
    ],
    "annotations": [
        {"image_id": 9, "file_name": "b.png", "segments_info": []},
        {
            "image_id": 2,
            "file_name": "a.png",
            "segments_info": [{"id": 7, "category_id": 1, "iscrowd": 0, "area": 5}],
        },
    ],
}


def truth_of(content: Any) -> PanopticTruth:
    return panoptic_truth(content, Path("maps.json"), Path("maps"), "")


def test_categories_and_images_are_in_order() -> None:
    truth = truth_of(copy.deepcopy(CONTENT))
    assert [one.name for one in truth.things] == ["cat"]
    assert [one.name for one in truth.stuff] == ["sky"]
    assert [row["image_id"] for row in truth.rows] == [2, 9]


def set_in(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value."""

    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


SEGMENT = ("annotations", 1, "segments_info", 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_in("annotations", value={}), "is not a panoptic annotation file"),
        (set_in("categories", 0, "id", value=1), "needs an id of its own"),
        (set_in("categories", 0, "isthing", value="no"), "has isthing 'no'"),
        (set_in("annotations", 0, "image_id", value=2), "expected an integer that no other row"),
        (set_in("annotations", 0, "file_name", value=""), "names no PNG"),
        (set_in("annotations", 0, "segments_info", value=None), "has no list segments_info"),
        (set_in(*SEGMENT, "id", value=0), "expected an id of its own from 1"),
        (set_in(*SEGMENT, "id", value=1 << 24), "expected an id of its own from 1"),
        (set_in(*SEGMENT, "category_id", value=3), "has category 3, which is not listed"),
        (set_in(*SEGMENT, "area", value=float("nan")), "has the area nan"),
        (set_in(*SEGMENT, "iscrowd", value=2), "has iscrowd 2"),
        (set_in(*SEGMENT, value=[7]), "has the segment"),
    ],
)
def test_what_would_change_a_number_is_refused(
    change: Callable[[dict[str, Any]], None], says: str
) -> None:
    content = copy.deepcopy(CONTENT)
    change(content)
    with pytest.raises(IntegrityError) as caught:
        truth_of(content)
    assert says in caught.value.message


def test_a_file_of_instances_says_where_it_belongs() -> None:
    content = {"categories": [], "annotations": [{"id": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}]}
    with pytest.raises(IntegrityError, match="boxes and masks go to --annotations") as caught:
        truth_of(content)
    assert "panoptic_annotations_trainval2017.zip" in str(caught.value.hint)


def test_numbers_of_three_bytes_survive_a_png(tmp_path: Path) -> None:
    ids = np.array([0, 1, 255, 256, 65_536, (1 << 24) - 1] * 4, dtype=np.int32).reshape(SIZE)
    (tmp_path / "map.png").write_bytes(png_of(ids))
    assert (read_ids(tmp_path / "map.png", SIZE) == ids).all()


def picture(path: Path, mode: str, kind: str) -> None:
    PillowImage.new(mode, (SIZE[1], SIZE[0])).save(path, kind)


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [("RGB", "JPEG", "is a JPEG"), ("L", "PNG", "of mode L"), ("P", "PNG", "of mode P")],
)
def test_what_is_no_png_of_segments_is_named(
    tmp_path: Path, mode: str, kind: str, says: str
) -> None:
    picture(tmp_path / "map.png", mode, kind)
    with pytest.raises(IntegrityError, match=says):
        read_ids(tmp_path / "map.png", SIZE)


def test_a_png_that_is_missing_cut_off_or_of_another_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    with pytest.raises(IntegrityError, match="cannot be read as a PNG of segments"):
        read_ids(path, SIZE)
    path.write_bytes(png_of(np.ones(SIZE, dtype=np.int32)))
    with pytest.raises(IntegrityError, match="is 6 × 4 px, its image is 4 × 6 px"):
        read_ids(path, (6, 4))
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(IntegrityError, match="cannot be read as a PNG of segments"):
        read_ids(path, SIZE)


def test_coco_has_80_things_and_53_kinds_of_stuff() -> None:
    assert (len(COCO_CATEGORIES), len(COCO_STUFF)) == (80, 53)
    ids = [one.category_id for one in (*COCO_CATEGORIES, *COCO_STUFF)]
    assert ids == sorted(set(ids))
    assert stuff_of(54) == COCO_STUFF
    assert [one.name for one in stuff_of(3)] == ["stuff 1", "stuff 2"]
    assert stuff_of(0) == ()


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_detectron2s() -> None:
    meta = pytest.importorskip(
        "detectron2.data.datasets.builtin_meta", reason="Detectron2 is not installed"
    )
    theirs = meta._get_builtin_metadata("coco_panoptic_separated")
    places = {one.category_id: place for place, one in enumerate(COCO_STUFF, start=1)}
    assert places | {0: 0} == theirs["stuff_dataset_id_to_contiguous_id"]
    things = {one.category_id: place for place, one in enumerate(COCO_CATEGORIES)}
    assert things == theirs["thing_dataset_id_to_contiguous_id"]
