"""What training keeps of a data set, and what it counts out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.run_lengths import Rle
from harness.data.coco import read_dataset
from harness.data.objects import TrainingSet, training_set

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


@pytest.fixture
def trained_on(tmp_path: Path) -> Callable[..., TrainingSet]:
    """The training set of annotations given as changes of one good annotation of image 1."""

    def make(*changes: dict[str, Any], with_masks: bool = True) -> TrainingSet:
        good = {"image_id": 1, "category_id": 0, "bbox": [10, 10, 20, 20], "area": 400}
        good |= {"iscrowd": 0, "segmentation": SQUARE}
        content = {
            "images": [
                {"id": number, "file_name": f"{number}.png", "height": 60, "width": 80}
                for number in (1, 2)
            ],
            "categories": [{"id": 0, "name": "a"}, {"id": 7, "name": "a"}],
            "annotations": [
                {"id": number, **good, **change} for number, change in enumerate(changes, start=1)
            ],
        }
        (tmp_path / "data.json").write_text(json.dumps(content), encoding="utf-8")
        dataset = read_dataset(tmp_path / "data.json", tmp_path)
        return training_set(dataset, with_masks=with_masks)

    return make


def test_ids_from_zero_with_gaps_become_positions(trained_on: Callable[..., TrainingSet]) -> None:
    found = trained_on({}, {"category_id": 7})
    np.testing.assert_array_equal(found.images[0].class_index, [0, 1])
    assert found.object_counts == {0: 1, 7: 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iscrowd": 1}, "1 crowd region"),
        ({"bbox": [10, 10, 0, 20]}, "1 annotation whose box has no area inside its image"),
        ({"bbox": [90, 10, 20, 20]}, "1 annotation whose box has no area inside its image"),
        ({"segmentation": []}, "1 annotation of a box without a mask"),
        ({"segmentation": None}, "1 annotation of a box without a mask"),
        ({"segmentation": [[1, 1, 5, 5]]}, "1 annotation with a degenerate segmentation"),
    ],
)
def test_what_cannot_be_learned_is_counted_out(
    trained_on: Callable[..., TrainingSet], change: dict[str, Any], reason: str
) -> None:
    found = trained_on({}, change)
    assert len(found.images[0].class_index) == 1
    assert any(one.startswith(reason) for one in found.left_out), found.left_out
    assert "1 image without an object to learn from" in found.left_out


def test_without_masks_a_box_is_enough(trained_on: Callable[..., TrainingSet]) -> None:
    found = trained_on({"segmentation": []}, with_masks=False)
    assert len(found.images[0].class_index) == 1
    assert found.images[0].segmentations is None


def test_boxes_are_cut_at_the_image(trained_on: Callable[..., TrainingSet]) -> None:
    found = trained_on({"bbox": [-5, 50, 20, 30]})
    np.testing.assert_array_equal(found.images[0].boxes_xyxy_px, [[0, 50, 15, 60]])


def test_both_kinds_of_masks_are_kept(trained_on: Callable[..., TrainingSet]) -> None:
    runs = {"size": [60, 80], "counts": [60, 60, 60 * 78]}
    found = trained_on({}, {"segmentation": runs})
    assert found.images[0].segmentations is not None
    polygon, run_lengths = found.images[0].segmentations
    assert isinstance(polygon, list)
    assert [list(one) for one in polygon] == SQUARE
    assert isinstance(run_lengths, Rle)
