"""Predictions of other programs, as their sources write them, are the same rows."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask

from harness.core.errors import IntegrityError
from harness.data.coco import read_annotations
from harness.data.foreign_results import with_category_ids
from harness.workflows.runs.results_files import read_loosely, read_results

Row = dict[str, Any]


@pytest.fixture
def content(small_coco: Path) -> dict[str, Any]:
    return read_annotations(small_coco / "annotations.json")


@pytest.fixture
def rows(content: dict[str, Any]) -> list[Row]:
    return two_an_image(content)


def two_an_image(content: dict[str, Any]) -> list[Row]:
    """Two predictions an image, of categories that are not class indices by chance."""
    ids = sorted(one["id"] for one in content["categories"])
    return [
        {
            "image_id": image["id"],
            "category_id": ids[number % len(ids)],
            "bbox": [1.0 + number, 2.0, 5.0, 6.5],
            "score": 0.5 + 0.1 * number,
        }
        for image in content["images"]
        for number in range(2)
    ]


def index_of(content: dict[str, Any]) -> dict[int, int]:
    ids = sorted(one["id"] for one in content["categories"])
    return {one: number for number, one in enumerate(ids)}


def corners(row: Row) -> list[float]:
    x, y, width, height = row["bbox"]
    return [x, y, x + width, y + height]


def as_ultralytics(content: dict[str, Any], rows: list[Row]) -> Any:
    stems = {one["id"]: Path(one["file_name"]).stem for one in content["images"]}
    index = index_of(content)
    return [
        {
            **row,
            "image_id": f"photo {stems[row['image_id']]}",
            "category_id": index[row["category_id"]],
        }
        for row in rows
    ]


def as_mmdetection(content: dict[str, Any], rows: list[Row]) -> Any:
    index = index_of(content)
    return [
        {
            "img_id": image["id"],
            "pred_instances": {
                "bboxes": [corners(row) for row in rows if row["image_id"] == image["id"]],
                "labels": [
                    index[row["category_id"]] for row in rows if row["image_id"] == image["id"]
                ],
                "scores": [row["score"] for row in rows if row["image_id"] == image["id"]],
            },
        }
        for image in content["images"]
    ]


def as_torchvision(content: dict[str, Any], rows: list[Row]) -> Any:
    return {
        str(image["id"]): {
            "boxes": [corners(row) for row in rows if row["image_id"] == image["id"]],
            "labels": [row["category_id"] for row in rows if row["image_id"] == image["id"]],
            "scores": [row["score"] for row in rows if row["image_id"] == image["id"]],
        }
        for image in content["images"]
    }


def as_supervision(content: dict[str, Any], rows: list[Row]) -> Any:
    names = {one["id"]: one["file_name"] for one in content["images"]}
    index = index_of(content)
    return [
        {
            **dict(zip(("x_min", "y_min", "x_max", "y_max"), corners(row), strict=True)),
            "class_id": index[row["category_id"]],
            "confidence": row["score"],
            "tracker_id": "",
            "file_name": names[row["image_id"]],
        }
        for row in rows
    ]


def as_detectron2(content: dict[str, Any], rows: list[Row]) -> Any:
    index = index_of(content)
    return [
        {
            "image_id": image["id"],
            "instances": [
                {**row, "category_id": index[row["category_id"]]}
                for row in rows
                if row["image_id"] == image["id"]
            ],
        }
        for image in content["images"]
    ]


def as_fiftyone(content: dict[str, Any], rows: list[Row]) -> Any:
    place = {one["id"]: number for number, one in enumerate(content["images"], start=1)}
    index = index_of(content)
    return {
        "info": {},
        "images": [{**one, "id": place[one["id"]]} for one in content["images"]],
        "categories": [
            {"id": index[one["id"]], "name": one["name"]} for one in content["categories"]
        ],
        "annotations": [
            {
                **row,
                "id": number,
                "image_id": place[row["image_id"]],
                "category_id": index[row["category_id"]],
            }
            for number, row in enumerate(rows, start=1)
        ],
    }


FORMS: dict[str, Callable[[dict[str, Any], list[Row]], Any]] = {
    "MMDetection": as_mmdetection,
    "torchvision": as_torchvision,
    "supervision": as_supervision,
    "Detectron2": as_detectron2,
    "FiftyOne": as_fiftyone,
}


def plain(rows: list[Row]) -> list[tuple[Any, ...]]:
    return sorted(
        (
            row["image_id"],
            row["category_id"],
            *(round(float(side), 6) for side in row["bbox"]),
            round(row["score"], 6),
        )
        for row in rows
    )


@pytest.mark.parametrize("program", FORMS)
def test_the_rows_are_the_same(
    content: dict[str, Any], rows: list[Row], tmp_path: Path, program: str
) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(FORMS[program](content, rows)))
    for found in (read_results(path, content), read_loosely(path, content)):
        assert plain(found.rows) == plain(rows)
        assert program in found.assumed[0]


def test_file_names_and_class_indices_of_ultralytics(
    content: dict[str, Any], rows: list[Row], tmp_path: Path
) -> None:
    named = {
        **content,
        "images": [{**one, "file_name": f"photo {one['file_name']}"} for one in content["images"]],
    }
    path = tmp_path / "predictions.json"
    # The last class says that the first one is 1.
    rows = [*rows[:-1], {**rows[-1], "category_id": max(index_of(content))}]
    given = as_ultralytics(content, rows)
    for first in (0, 1):  # newer versions count from 1
        counted = [{**row, "category_id": row["category_id"] + first} for row in given]
        path.write_text(json.dumps(counted))
        # A diagnosis reads what a score reads, so that it does not report what was mended.
        for found in (read_results(path, named), read_loosely(path, named)):
            assert plain(found.rows) == plain(rows)
            assert "Ultralytics" in found.assumed[0]
            assert f"from {first} " in found.assumed[1]


@pytest.mark.parametrize(
    ("given", "first"),
    [
        pytest.param({1, 2, 3, 5}, None, id="ids"),
        pytest.param({0, 1, 2, 3}, 0, id="from 0"),
        pytest.param({0, 3}, 0, id="from 0, not all"),
        pytest.param({1, 4}, 1, id="from 1, the last"),
        pytest.param({2, 3, 5, 7}, None, id="beyond"),
        pytest.param({0, 4}, None, id="both ends"),
        pytest.param({1, 3}, None, id="ids, not all"),
        pytest.param({2, 3}, None, id="from 0 or from 1"),
    ],
)
def test_class_indices_are_counted_from_what_is_certain(given: set[int], first: int | None) -> None:
    ids = (1, 7, 8, 9) if given == {2, 3} else (1, 2, 3, 5)
    content = {"categories": [{"id": one, "name": str(one)} for one in ids]}
    found = with_category_ids([{"category_id": one} for one in sorted(given)], content)
    if first is None:
        assert found is None
    else:
        assert found == ([{"category_id": ids[one - first]} for one in sorted(given)], first)


def test_a_pickle_of_mmdetection_is_read_and_not_run(
    content: dict[str, Any], rows: list[Row], tmp_path: Path
) -> None:
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps(as_mmdetection(content, rows)))
    assert plain(read_results(path, content).rows) == plain(rows)
    path.write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(IntegrityError):
        read_results(path, content)
    assert not Path("ran").exists()


def test_tensors_in_a_pickle_of_mmdetection(
    content: dict[str, Any], rows: list[Row], tmp_path: Path
) -> None:
    """``DumpDetResults`` pickles tensors, which hold a file of torch each, and encoded masks."""
    torch = pytest.importorskip("torch")
    counts = mask.encode(np.ones((4, 5), dtype=np.uint8, order="F"))["counts"]
    images = as_mmdetection(content, rows)
    for image in images:
        found = image["pred_instances"]
        image["ori_shape"] = (4, 5)
        image["pred_instances"] = {
            "bboxes": torch.tensor(found["bboxes"]).reshape(-1, 4),
            "labels": torch.tensor(found["labels"], dtype=torch.int64),
            "scores": torch.tensor(found["scores"]),
            "masks": [{"size": [4, 5], "counts": counts}] * len(found["scores"]),
        }
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps(images))
    found = read_loosely(path, content)
    assert plain(found.rows) == plain(rows)
    assert {row["segmentation"]["counts"] for row in found.rows} == {counts.decode()}


def test_lists_that_share_lists_are_read_once(tmp_path: Path) -> None:
    shared: Any = [1]
    for _ in range(6):
        shared = [shared] * 3000
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps(shared))
    with pytest.raises(IntegrityError):
        read_loosely(path, {"images": [], "categories": [], "annotations": []})


def test_files_of_torch(content: dict[str, Any], rows: list[Row], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "instances_predictions.pth"
    torch.save(as_detectron2(content, rows), path)
    assert plain(read_results(path, content).rows) == plain(rows)
    tables = {
        int(image): {name: torch.tensor(values) for name, values in table.items()}
        for image, table in as_torchvision(content, rows).items()
    }
    torch.save(tables, path)
    assert plain(read_results(path, content).rows) == plain(rows)


def test_masks_of_torchvision_are_probabilities(content: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    image = content["images"][0]
    masks = np.zeros((1, 1, image["height"], image["width"]), dtype=np.float32)
    masks[0, 0, 2:5, 3:9] = 0.8
    path = tmp_path / "predictions.pth"
    table = {
        "boxes": torch.tensor([[3.0, 2.0, 9.0, 5.0]]),
        "labels": torch.tensor([content["categories"][0]["id"]]),
        "scores": torch.tensor([0.5]),
        "masks": torch.from_numpy(masks),
    }
    torch.save({image["id"]: table}, path)
    (row,) = read_results(path, content).rows
    from harness.core.run_lengths import Rle, decode

    size = row["segmentation"]["size"]
    assert size == [image["height"], image["width"]]
    assert decode(Rle(*size, row["segmentation"]["counts"])).sum() == 18


def test_what_does_not_follow_its_form_says_so(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    sides = {"x_min": 1, "y_min": 1, "x_max": 2, "y_max": 2, "class_id": 0, "confidence": 1}
    for wrong, said in (
        ([sides], "which image"),
        ([{"image_id": 1, "instances": [{"category_id": 99}]}], "class index 99"),
        ([{"img_id": 1, "pred_instances": {"bboxes": []}}], "mmdetection"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(IntegrityError, match=said):
            read_results(path, content)


def test_numbers_of_numpy_in_a_pickle_are_numbers(
    content: dict[str, Any], rows: list[Row], tmp_path: Path
) -> None:
    """Programs often keep what they computed as it came out of an array."""
    kept = [
        {**row, "bbox": np.array(row["bbox"]) if number % 2 else list(map(np.float64, row["bbox"]))}
        for number, row in enumerate({**row, "score": np.float64(row["score"])} for row in rows)
    ]
    path = tmp_path / "predictions.pkl"
    for form in (kept, as_detectron2(content, kept)):
        path.write_bytes(pickle.dumps(form))
        for found in (read_results(path, content), read_loosely(path, content)):
            assert plain(found.rows) == plain(rows)
            assert all(type(side) is float for side in found.rows[0]["bbox"])
