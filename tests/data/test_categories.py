"""Categories known built in are those the files list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.data.categories import categories_for, categories_of, read_categories
from harness.data.synthetic import SHAPES
from tests.conftest import SMALL_CATEGORIES


def test_coco_is_what_its_annotation_file_lists(shared_data: Path) -> None:
    annotations = shared_data / "coco" / "annotations" / "instances_val2017.json"
    assert categories_of("coco_2017_val") == read_categories(annotations)


def test_the_embedded_ones_are_sorted_by_id() -> None:
    found = categories_of("synthetic_val")
    assert [one.category_id for one in found] == sorted(SHAPES)
    assert found[0].name == "circle"


def test_a_file_gives_the_order_of_a_data_set(small_coco: Path) -> None:
    found = read_categories(small_coco / "annotations.json")
    assert tuple(one.category_id for one in found) == SMALL_CATEGORIES


def test_others_are_not_known() -> None:
    with pytest.raises(UsageError, match="--annotations"):
        categories_of("my_photos")


def test_weights_in_the_folder_of_a_training_bring_their_classes(
    small_coco: Path, tmp_path: Path
) -> None:
    annotations = small_coco / "annotations.json"
    weights = tmp_path / "model_final.safetensors"
    run = {"kind": "train", "dataset": {"annotations_path": str(annotations)}}
    by_heart = categories_of("synthetic_val")
    for content, expected in (
        (run, read_categories(annotations)),
        ({**run, "kind": "eval"}, by_heart),
        ({**run, "dataset": {"annotations_path": str(tmp_path / "gone.json")}}, by_heart),
        ([], by_heart),
    ):
        (tmp_path / "run.json").write_text(json.dumps(content), encoding="utf-8")
        assert categories_for("synthetic_val", annotations=None, weights=weights) == expected
    given = categories_for("synthetic_val", annotations=annotations, weights=weights)
    assert given == read_categories(annotations)
    assert categories_for("synthetic_val", annotations=None, weights=None) == by_heart
