"""Names of keypoints: as many as objects have, each category's own, the same in merged files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import IntegrityError
from harness.data.coco import read_annotations, read_dataset
from harness.data.convert.source_annotations import Tally
from harness.data.edit.cleaning import Cleaning, cleaned
from harness.data.edit.splitting import merged
from harness.data.objects import training_set
from harness.training.augmentation import Change
from harness.training.samples import _moved_keypoints

POINTS = [10, 12, 2, 20, 12, 2, 15, 20, 1]
NAMES = ["left_eye", "right_eye", "nose"]


def content(**category: Any) -> dict[str, Any]:
    """An object of each of two categories; the second has keypoints."""
    box = {"bbox": [5, 5, 30, 30], "area": 900, "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "1.png", "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "person", **category}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, **box},
            {"id": 2, "image_id": 1, "category_id": 2, "keypoints": list(POINTS), **box},
        ],
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "persons.json"


def test_more_or_fewer_names_than_objects_have_are_a_fault(path: Path) -> None:
    path.write_text(json.dumps(content(keypoints=[*NAMES, "mouth"])), "utf-8")
    with pytest.raises(
        IntegrityError, match="annotation 2 has 3 keypoints, and its category names 4"
    ):
        read_annotations(path)


def test_names_of_a_category_without_objects_do_not_count(path: Path) -> None:
    given = content(keypoints=NAMES, skeleton=[[1, 3], [2, 3]])
    given["categories"].append(
        {"id": 3, "name": "dog", "keypoints": ["a", "b", "c", "d"], "skeleton": [[1, 4]]}
    )
    path.write_text(json.dumps(given), "utf-8")
    categories = read_dataset(path, path.parent).categories
    assert [len(one.keypoints) for one in categories] == [3, 3, 3]
    assert categories[1].keypoints == tuple(NAMES)
    assert categories[2].skeleton == ()


def test_each_object_is_flipped_by_the_names_of_its_own_category(path: Path) -> None:
    """The first category of a file that has named keypoints need not name any."""
    path.write_text(json.dumps(content(keypoints=NAMES)), "utf-8")
    dataset = read_dataset(path, path.parent)
    (image,) = training_set(dataset, with_masks=False, with_keypoints=True).images
    assert image.mirrored is not None
    np.testing.assert_array_equal(image.mirrored, [[0, 1, 2], [1, 0, 2]])
    moved = _moved_keypoints(image, Change(size=(60, 80), flip=True), (1.0, 1.0))
    assert moved is not None
    # What was the right eye is the left one of the flipped image, at its mirrored place.
    np.testing.assert_array_equal(moved[1], [[59.5, 12.5, 2], [69.5, 12.5, 2], [64.5, 20.5, 1]])
    assert (moved[0] == 0).all()


def test_cleaning_leaves_names_out_that_cannot_be_those_of_the_objects(path: Path) -> None:
    tally = Tally()
    found = cleaned(content(keypoints=[*NAMES, "mouth"]), Cleaning(), tally)
    path.write_text(json.dumps(found), "utf-8")
    read = read_annotations(path)
    assert read["annotations"][1]["keypoints"] == POINTS
    assert "keypoints" not in read["categories"][1]
    assert any("keypoints that are not valid" in one for one in tally.notes)


def test_keypoints_survive_a_merge_in_either_order() -> None:
    full, bare = content(keypoints=NAMES, skeleton=[[1, 3]]), content()
    bare["annotations"][1]["keypoints"] = []
    for parts in ([full, bare], [bare, full]):
        found = merged(copy.deepcopy(parts), ["", ""], Tally())
        assert len(found["annotations"]) == 2
        assert found["annotations"][1]["keypoints"] == POINTS
        assert found["categories"][1]["keypoints"] == NAMES
        assert found["categories"][1]["skeleton"] == [[1, 3]]


def test_objects_with_other_keypoints_are_not_the_same() -> None:
    other = content(keypoints=NAMES)
    other["annotations"][1]["keypoints"][0] = 11
    found = merged([content(keypoints=NAMES), other], ["", ""], Tally())
    assert [row["category_id"] for row in found["annotations"]] == [1, 2, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["left_eye", "right_eye", "mouth"], "category person has other keypoints in another"),
        (["left_eye", "right_eye"], "different numbers of keypoints in these files: 2, 3"),
    ],
)
def test_files_with_other_keypoints_are_not_merged(change: list[str], says: str) -> None:
    other = content(keypoints=change)
    other["annotations"][1]["keypoints"] = POINTS[: 3 * len(change)]
    with pytest.raises(IntegrityError, match=says):
        merged([content(keypoints=NAMES), other], ["", ""], Tally())
