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
from harness.data.foreign_ids import Meant, with_category_ids
from harness.workflows.runs.results_files import as_scored, read_loosely, read_results

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
    rows = [{"category_id": one} for one in sorted(given)]
    found = with_category_ids(rows, content, plain=False)
    if first is None:
        assert found == Meant(rows)
    else:
        assert found.rows == [{"category_id": ids[one - first]} for one in sorted(given)]
        assert f"from {first} " in found.sentences[0]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param((0, 1, 2), (1, 2, 3), id="one too low, too, and the same"),
        pytest.param((0, 2, 4), None, id="one too low, too, and another"),
        pytest.param((0, 2, 3), (1, 3, 5), id="indices alone"),
        pytest.param((2, 3, 4), None, id="one too high, too, and another"),
        pytest.param((1, 4), None, id="from 1, or one too low"),
        pytest.param((1, 3, 4), (1, 3, 5), id="from 1, the last"),
    ],
)
def test_class_indices_without_file_names_have_one_meaning(
    given: tuple[int, ...], meant: tuple[int, ...] | None
) -> None:
    content = {"categories": [{"id": one, "name": str(one)} for one in (1, 2, 3, 5)]}
    found = with_category_ids([{"category_id": one} for one in given], content, plain=True)
    assert tuple(row["category_id"] for row in found.rows) == (meant or given)
    assert bool(found.sentences) is (meant is not None)


def renamed(content: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The annotations with other file names, by position."""
    images = [
        {**one, "file_name": name} for one, name in zip(content["images"], names, strict=True)
    ]
    return {**content, "images": images}


def shown_as(content: dict[str, Any], rows: list[Row], stem: Callable[[str], Any]) -> list[Row]:
    """Rows with what a program makes of the stem of the file name for an image id."""
    stems = {one["id"]: Path(one["file_name"]).stem for one in content["images"]}
    return [{**row, "image_id": stem(stems[row["image_id"]])} for row in rows]


#: Files that are numbers, none of them the id of its image; some are the id of another one.
NUMBERED = ["000007.png", "000042.png", "000001.png", "000002.png", "000003.png", "000012.png"]


@pytest.mark.parametrize("file_name", [False, True])
@pytest.mark.parametrize("kind", [int, str])
def test_names_of_files_that_are_numbers(
    content: dict[str, Any], rows: list[Row], tmp_path: Path, kind: Any, file_name: bool
) -> None:
    named = renamed(content, NUMBERED)
    given = shown_as(named, rows, kind)
    if file_name:
        files = {one["id"]: one["file_name"] for one in named["images"]}
        pairs = zip(given, rows, strict=True)
        given = [{**row, "file_name": files[own["image_id"]]} for row, own in pairs]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(given))
    found = read_results(path, named)
    assert plain(found.rows) == plain(rows)
    assert "file" in found.assumed[0]
    loose = read_loosely(path, named)
    if kind is int and not file_name:  # this may be a fault: a diagnosis looks for it
        assert loose.assumed == ()
        assert plain(as_scored(loose.rows, named).rows) == plain(rows)
    else:
        assert plain(loose.rows) == plain(rows)


def test_ids_as_text_are_ids(content: dict[str, Any], rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([{**row, "image_id": str(row["image_id"])} for row in rows]))
    for found in (read_results(path, content), read_loosely(path, content)):
        assert plain(found.rows) == plain(rows)
        assert found.assumed == ("12 rows have the image id as text",)


def test_text_that_is_an_id_and_another_file_is_refused(
    content: dict[str, Any], rows: list[Row], tmp_path: Path
) -> None:
    named = renamed(content, ["7.png", "42.png", "300.png", "12.png", "9.png", "1001.png"])
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([{**row, "image_id": str(row["image_id"])} for row in rows]))
    with pytest.raises(IntegrityError, match="the id of one image and the file name of another"):
        read_results(path, named)
    assert plain(read_loosely(path, named).rows) == plain(rows)


def test_a_name_of_two_files_is_of_neither(
    content: dict[str, Any], rows: list[Row], tmp_path: Path
) -> None:
    named = renamed(content, ["a/x.png", "b/x.png", "c.png", "d.png", "e.png", "f.png"])
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(shown_as(named, rows, lambda stem: stem)))
    with pytest.raises(IntegrityError, match="names image 'x'"):
        read_results(path, named)
    files = {one["id"]: one["file_name"] for one in named["images"]}
    path.write_text(json.dumps([{**row, "image_id": files[row["image_id"]]} for row in rows]))
    assert plain(read_results(path, named).rows) == plain(rows)


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


@pytest.mark.parametrize("masked", [False, True])
def test_pickles_of_mmdetection_2(
    content: dict[str, Any], rows: list[Row], tmp_path: Path, masked: bool
) -> None:
    """``tools/test.py --out``: images by position, an array for each class."""
    index, counts = index_of(content), mask.encode(np.ones((4, 5), np.uint8, order="F"))["counts"]
    images: list[Any] = []
    for image in content["images"]:
        by_class = [
            np.array(
                [
                    [*corners(row), row["score"]]
                    for row in rows
                    if row["image_id"] == image["id"] and index[row["category_id"]] == number
                ],
                dtype=np.float32,
            ).reshape(-1, 5)
            for number in range(len(index))
        ]
        masks = [[{"size": [4, 5], "counts": counts}] * len(one) for one in by_class]
        images.append((by_class, masks) if masked else by_class)
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps(images))
    found = read_loosely(path, content)
    assert plain(found.rows) == plain(rows)
    assert "order of the annotation file" in found.assumed[0]
    assert all(("segmentation" in row) is masked for row in found.rows)
    path.write_bytes(pickle.dumps(images[:-1]))
    with pytest.raises(IntegrityError, match="5 images by their position alone"):
        read_results(path, content)


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
