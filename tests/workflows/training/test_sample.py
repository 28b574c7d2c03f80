"""The sample of a training: what is kept of it, and which iterations stand on its sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.dataset import ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.data.coco import read_dataset
from harness.workflows.training.sample import FOLDER, MOST_COLUMNS, columns_of, keep_rows, kept_rows


def test_few_iterations_are_all_on_the_sheet() -> None:
    assert columns_of([0, 2, 4], None) == [0, 2, 4]
    assert columns_of([7], 7) == [7]


def test_of_many_first_best_and_last_are_on_the_sheet() -> None:
    many = list(range(0, 1010, 10))
    for best in many:
        chosen = columns_of(many, best)
        assert len(chosen) == len(set(chosen)) == MOST_COLUMNS
        assert chosen == sorted(chosen)
        assert {0, best, 1000} <= set(chosen)
    assert len(columns_of(many, None)) == MOST_COLUMNS


def test_copies_beside_the_kept_predictions_are_none_of_them(
    tmp_path: Path, small_coco: Path
) -> None:
    dataset = read_dataset(small_coco / "annotations.json", small_coco / "images")
    first, second = dataset.image_ids[:2]
    category = dataset.categories[0].category_id
    row = {"image_id": first, "category_id": category, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    for iteration in (0, 12_345_678):
        keep_rows(tmp_path, iteration, dataset.images[:1], [row, row | {"image_id": second}])
    for name in ("iteration-0000000 (copy).json", "iteration-.json", "iteration-²²²²²²².json"):
        (tmp_path / FOLDER / name).write_text("[]", "utf-8")
    assert kept_rows(tmp_path, dataset) == {0: [row], 12_345_678: [row]}
    odd = ({"score": "x"}, {"bbox": "abc"}, {"bbox": [1, 2]}, {"image_id": 10**6}, {"score": None})
    for damaged in (
        "{}",
        "[7]",
        '[{"image_id": 1}]',
        "[",
        *(json.dumps([row | one]) for one in odd),
    ):
        (tmp_path / FOLDER / "iteration-0000001.json").write_text(damaged, "utf-8")
        with pytest.raises(IntegrityError, match=r"iteration-0000001\.json"):
            kept_rows(tmp_path, dataset)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("", "utf-8")
    with pytest.raises(UsageError, match=f"cannot write .*{FOLDER}"):
        keep_rows(tmp_path, 0, [ImageRecord(1, "a.jpg", 9, 9)], [])
