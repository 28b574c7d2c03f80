"""Annotation files: what is refused, what is kept with a warning, and that real ones are read."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.dataset import Category, ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.data.coco import read_annotations, read_dataset
from harness.measure.coco import score
from harness.measure.masks import encode_region

SQUARE = [2, 2, 10, 2, 10, 10, 2, 10]
MINIMAL = {
    "images": [
        {"id": 9, "file_name": "nine.jpg", "height": 20, "width": 30},
        {"id": 4, "file_name": "sub/four.png", "height": 40, "width": 30},
    ],
    "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 9,
            "category_id": 7,
            "bbox": [2, 2, 8, 8],
            "area": 64,
            "iscrowd": 0,
            "segmentation": [SQUARE],
        },
        {
            "id": 2,
            "image_id": 4,
            "category_id": 3,
            "bbox": [0.5, 0, 3, 40],
            "area": 120.0,
            "iscrowd": 1,
            "segmentation": {"size": [40, 30], "counts": [0, 120, 1080]},
        },
    ],
}

Edit = Callable[[dict[str, Any]], None]


def written(folder: Path, content: Any) -> Path:
    path = folder / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def edited(edit: Edit) -> dict[str, Any]:
    content = copy.deepcopy(MINIMAL)
    edit(content)
    return content


def setting(kind: str, key: str, value: Any, position: int = 0) -> Edit:
    return lambda content: content[kind][position].update({key: value})


def dropping(kind: str, key: str) -> Edit:
    return lambda content: content[kind][0].pop(key)


def test_a_data_set_is_sorted_counted_and_hashed(odd_tmp_path: Path) -> None:
    path = written(odd_tmp_path, MINIMAL)
    dataset = read_dataset(path, odd_tmp_path)
    assert dataset.name == "annotations"
    assert dataset.images == (
        ImageRecord(4, "sub/four.png", height_px=40, width_px=30),
        ImageRecord(9, "nine.jpg", height_px=20, width_px=30),
    )
    assert dataset.image_ids == (4, 9)
    assert dataset.categories == (Category(3, "dog"), Category(7, "cat"))
    assert (dataset.annotation_count, dataset.crowd_count, dataset.has_masks) == (2, 1, True)
    assert dataset.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dataset.warnings == ()
    assert read_dataset(path, odd_tmp_path, name="mine").name == "mine"


def test_a_data_set_without_masks_says_so(tmp_path: Path) -> None:
    def boxes_only(content: dict[str, Any]) -> None:
        for row in content["annotations"]:
            del row["segmentation"]

    dataset = read_dataset(written(tmp_path, edited(boxes_only)), tmp_path)
    assert not dataset.has_masks
    assert dataset.warnings == ()


def test_images_alone_are_a_data_set_that_nothing_is_scored_on(tmp_path: Path) -> None:
    path = written(tmp_path, {key: MINIMAL[key] for key in ("images", "categories")})
    dataset = read_dataset(path, tmp_path)
    assert dataset.image_ids == (4, 9)
    assert (dataset.annotation_count, dataset.ground_truth["annotations"]) == (0, [])
    assert dataset.warnings == ("no image has an annotation: nothing can be scored",)
    with pytest.raises(IntegrityError, match="lists images and has no annotations"):
        read_annotations(path)


def test_places_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_annotations(tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match="cannot read"):
        read_annotations(tmp_path)
    with pytest.raises(UsageError, match="no such folder of images"):
        read_dataset(written(tmp_path, MINIMAL), tmp_path / "nowhere")


# -- refused ---------------------------------------------------------------------------------------

NOT_COCO = {
    "empty": ("", "is not JSON"),
    "cut off": (json.dumps(MINIMAL)[:-20], "is not JSON"),
    "a web page": ("<html></html>", "is not JSON"),
    "endless nesting": ("[" * 100_000, "is not JSON"),
    "an endless number": ("9" * 10_000, "is not JSON"),
    "a list of predictions": ([{"image_id": 9, "score": 0.5}], "found list"),
    "a number": (3, "found int"),
    "an empty object": ({}, "found none"),
    "without categories": ({"images": [], "annotations": []}, "found images, annotations"),
    "images by id": ({**MINIMAL, "images": {"9": {}}}, "images must be a list, found dict"),
    "an image that is a name": ({**MINIMAL, "images": ["nine.jpg"]}, r"images\[0\] lacks id"),
}


@pytest.mark.parametrize("name", NOT_COCO)
def test_what_is_no_annotation_file_is_refused(tmp_path: Path, name: str) -> None:
    content, said = NOT_COCO[name]
    path = written(tmp_path, content)
    with pytest.raises(IntegrityError, match=said) as caught:
        read_annotations(path)
    assert str(path) in caught.value.message


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"images": "\xff\xfe"}')
    with pytest.raises(IntegrityError, match="is not JSON"):
        read_annotations(tmp_path / "a.json")


FAULTS: dict[str, tuple[Edit, str]] = {
    "image without height": (dropping("images", "height"), r"images\[0\] lacks height"),
    "image without id": (dropping("images", "id"), r"images\[0\] lacks id"),
    "image without file": (dropping("images", "file_name"), r"images\[0\] lacks file_name"),
    "category without name": (dropping("categories", "name"), r"categories\[0\] lacks name"),
    "annotation without box": (dropping("annotations", "bbox"), r"annotations\[0\] lacks bbox"),
    "width of zero": (setting("images", "width", 0), "image 9 has height and width .20, 0."),
    "negative height": (setting("images", "height", -1), "both must be positive"),
    "height in text": (setting("images", "height", "20"), "both must be positive integers"),
    "height of a fraction": (setting("images", "height", 20.5), "both must be positive integers"),
    "no file name": (setting("images", "file_name", ""), "image 9 has no file name"),
    "file name by number": (setting("images", "file_name", 9), "image 9 has no file name"),
    "category named by number": (setting("categories", "name", 1), "category 7 has no name"),
    "id in text": (setting("images", "id", "9"), r"images\[0\] has the id '9'"),
    "id that is true": (setting("categories", "id", True), r"categories\[0\] has the id True"),
    "id of a fraction": (setting("annotations", "id", 1.5), r"annotations\[0\] has the id 1\.5"),
    "id beyond 64 bits": (setting("annotations", "id", 2**63), "64 bits"),
    "repeated image": (setting("images", "id", 4), "1 id of images .* first is 4"),
    "repeated category": (setting("categories", "id", 3), "1 id of categories .* first is 3"),
    "repeated annotation": (setting("annotations", "id", 2), "1 id of annotations"),
    "unknown image": (setting("annotations", "image_id", 5), "annotation 1 belongs to image 5"),
    "image by list": (setting("annotations", "image_id", [9]), "belongs to image .9., which"),
    "image by fraction": (setting("annotations", "image_id", 9.5), "belongs to image 9.5"),
    "unknown category": (setting("annotations", "category_id", 1), "annotation 1 has category 1"),
    "category by object": (setting("annotations", "category_id", {}), "has category {}"),
    "box with NaN": (setting("annotations", "bbox", [1, 1, math.nan, 1]), "has the box .1, 1, nan"),
    "box with infinity": (setting("annotations", "bbox", [1, 1, math.inf, 1]), "has the box"),
    "box of three": (setting("annotations", "bbox", [1, 1, 2]), "expected four finite numbers"),
    "box of text": (setting("annotations", "bbox", ["1", 1, 2, 2]), "expected four finite"),
    "box of endless digits": (setting("annotations", "bbox", [10**400, 1, 2, 2]), "expected four"),
    "no box at all": (setting("annotations", "bbox", None), "has the box None"),
    "area of NaN": (setting("annotations", "area", math.nan), "has the area nan"),
    "area in text": (setting("annotations", "area", "64"), "has the area '64'"),
    "crowd of two": (setting("annotations", "iscrowd", 2), "has iscrowd 2; expected 0 or 1"),
    "crowd of nothing": (setting("annotations", "iscrowd", None), "has iscrowd None"),
    "polygon with NaN": (
        setting("annotations", "segmentation", [[*SQUARE[:-1], math.nan]]),
        "not a list of polygons of finite numbers",
    ),
    "flat polygon": (setting("annotations", "segmentation", SQUARE), "not a list of polygons"),
    "polygon of points": (setting("annotations", "segmentation", [[[2, 2], [3, 3]]]), "not a list"),
    "mask in text": (setting("annotations", "segmentation", "P6"), "has the segmentation 'P6'"),
    "polygon far away": (
        setting("annotations", "segmentation", [[2, 2, 1e9, 2, 10, 10]]),
        "leaves its image by more than 100,000 px",
    ),
    "runs of another size": (
        setting("annotations", "segmentation", {"size": [30, 20], "counts": [600]}),
        r"mask of size \[30, 20\] in an image of \[20, 30\]",
    ),
    "runs that are too short": (
        setting("annotations", "segmentation", {"size": [20, 30], "counts": [500, 10]}),
        "has run lengths of 510 px for a mask of 20 × 30 px",
    ),
    "compressed runs that are too short": (
        setting("annotations", "segmentation", {"size": [20, 30], "counts": "P6"}),
        "has run lengths of 192 px",
    ),
    "negative runs": (
        setting("annotations", "segmentation", {"size": [20, 30], "counts": [-1, 601]}),
        "has no run lengths",
    ),
    "runs of noise": (
        setting("annotations", "segmentation", {"size": [20, 30], "counts": "é!"}),
        "has no run lengths",
    ),
    "runs without a size": (
        setting("annotations", "segmentation", {"counts": [600]}),
        "expected polygons or run lengths",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_would_bend_a_number_is_refused_at_its_place(tmp_path: Path, name: str) -> None:
    edit, said = FAULTS[name]
    path = written(tmp_path, edited(edit))
    with pytest.raises(IntegrityError, match=said) as caught:
        read_annotations(path)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 300 + len(str(path))


def plain_values() -> Any:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    )


@given(
    kind=st.sampled_from(sorted(MINIMAL)),
    key=st.sampled_from(
        ["id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"]
        + ["height", "width", "file_name", "name"]
    ),
    value=plain_values(),
)
def test_any_value_at_any_place_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, key: str, value: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = written(folder, edited(setting(kind, key, value)))
    try:
        dataset = read_dataset(path, folder)
    except IntegrityError:
        return
    assert len(dataset.images) == 2


# -- kept, with a warning --------------------------------------------------------------------------


def boxes(*found: list[float]) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for row, box in zip(content["annotations"], found, strict=True):
            row["bbox"] = box

    return edit


ODDITIES: dict[str, tuple[Edit, str]] = {
    "empty boxes": (
        boxes([1, 1, 0, 5], [1, 1, 5, -2]),
        "2 annotations have a box of zero or negative size: nothing matches it",
    ),
    "negative area": (
        setting("annotations", "area", -3),
        "1 annotation has a negative area: scoring counts them nowhere",
    ),
    "no polygon": (setting("annotations", "segmentation", []), "1 annotation has a box and"),
    "no segmentation": (dropping("annotations", "segmentation"), "1 annotation has a box and"),
    "empty polygon": (
        setting("annotations", "segmentation", [[]]),
        "1 annotation has a degenerate segmentation",
    ),
    "polygon of two points": (
        setting("annotations", "segmentation", [SQUARE, [1, 1, 2, 2]]),
        "1 annotation has a degenerate segmentation",
    ),
    "polygon of seven numbers": (
        setting("annotations", "segmentation", [SQUARE, [1, 1, 5, 1, 5, 5, 1]]),
        "1 annotation has a degenerate segmentation",
    ),
    "repeated names": (
        setting("categories", "name", "dog"),
        "category names that repeat: dog; scores are kept by id",
    ),
    "no area": (
        dropping("annotations", "area"),
        "1 annotation has no area: the area of the box decides their size class",
    ),
    "no iscrowd": (
        dropping("annotations", "iscrowd"),
        "1 annotation has no iscrowd: counted as a single object",
    ),
    "images without objects": (
        lambda content: content["annotations"].pop(),
        "1 image has no annotation",
    ),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_what_is_odd_is_kept_and_counted(tmp_path: Path, name: str) -> None:
    edit, said = ODDITIES[name]
    content = edited(edit)
    path = written(tmp_path, content)
    dataset = read_dataset(path, tmp_path)
    assert [sentence for sentence in dataset.warnings if sentence.startswith(said)]
    assert len(dataset.warnings) == 1
    assert dataset.annotation_count == len(content["annotations"])
    assert read_annotations(path) == content


def test_categories_may_start_at_zero(tmp_path: Path) -> None:
    def from_zero(content: dict[str, Any]) -> None:
        content["categories"][1]["id"] = content["annotations"][1]["category_id"] = 0

    dataset = read_dataset(written(tmp_path, edited(from_zero)), tmp_path)
    assert dataset.categories == (Category(0, "dog"), Category(7, "cat"))
    assert dataset.warnings == ("category ids start at 0",)


def test_what_is_kept_can_be_scored(tmp_path: Path) -> None:
    """Both evaluators finish, agree, and find what is there, whatever else is in the file."""

    def odd(content: dict[str, Any]) -> None:
        row = content["annotations"][0]
        segmentations = ([], [[]], [[1, 1]], [[1, 1, 2, 2]], [[1, 1, 5, 5, 3, 3]], None)
        for number, segmentation in enumerate(segmentations, start=10):
            content["annotations"].append({**row, "id": number, "segmentation": segmentation})
        content["annotations"].append({**row, "id": 20, "bbox": [3, 3, 0, 0]})
        content["annotations"].append(
            {"id": 0, "image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}
        )

    content = read_annotations(written(tmp_path, edited(odd)))
    found = {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.9}
    scores = score(content, [found], tasks=("bbox",), image_ids=(4, 9), evaluator="both")
    assert {row.category_id: row.ap for row in scores.per_category}[3] == pytest.approx(100)
    square = encode_region(np.ones((8, 8), bool), top_px=2, left_px=2, height_px=20, width_px=30)
    runs = {"size": [20, 30], "counts": square.counts}
    masked = {"image_id": 9, "category_id": 7, "score": 0.9, "segmentation": runs}
    scores = score(content, [masked], tasks=("segm",), image_ids=(4, 9), evaluator="both")
    # Of three outlines, two squares and a line, one is found: precision 1 at 34 of 101 recalls.
    assert scores.metrics["segm/AP50"] == pytest.approx(100 * 34 / 101)


# -- real files ------------------------------------------------------------------------------------


def test_real_annotations_are_read(shared_data: Path) -> None:
    coco = shared_data / "coco"
    dataset = read_dataset(coco / "annotations" / "instances_val2017.json", coco / "val2017")
    assert (len(dataset.images), len(dataset.categories)) == (206, 80)
    assert dataset.annotation_count == 1786
    assert dataset.has_masks
    assert dataset.crowd_count > 0
    assert dataset.categories[0] == Category(1, "person")
    assert dataset.categories[-1] == Category(90, "toothbrush")
    assert dataset.warnings == ("2 images have no annotation",)
