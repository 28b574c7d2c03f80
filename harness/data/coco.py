"""COCO annotation files: parsed, proved, and ready for scoring.

An annotation file decides every number, so what would bend a number silently is an error here:
duplicate ids, annotations of images that are not listed, sizes that are not positive. What is odd
but has a defined meaning (an empty box, a category id of 0) is kept and reported as a warning.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.dataset import Category, Dataset, ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.files.digest import file_digest
from harness.files.json import read

REQUIRED_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}


def read_dataset(annotations: Path, images_dir: Path, *, name: str | None = None) -> Dataset:
    """The data set of an annotation file and the folder its images lie in.

    name: how records call it; None takes the file's stem.
    """
    if not images_dir.is_dir():
        raise UsageError(f"no such folder of images: {images_dir}", hint="give it with --images")
    content = read_annotations(annotations)
    rows = content["annotations"]
    return Dataset(
        name=name or annotations.stem,
        annotations_path=annotations,
        images_dir=images_dir,
        images=tuple(
            ImageRecord(image["id"], image["file_name"], image["height"], image["width"])
            for image in sorted(content["images"], key=lambda image: image["id"])
        ),
        categories=tuple(
            Category(category["id"], category["name"])
            for category in sorted(content["categories"], key=lambda category: category["id"])
        ),
        annotation_count=len(rows),
        crowd_count=sum(bool(row.get("iscrowd", 0)) for row in rows),
        has_masks=any(row.get("segmentation") for row in rows),
        digest=file_digest(annotations),
        warnings=tuple(_oddities(content)),
    )


def read_annotations(path: Path) -> dict[str, Any]:
    """The parsed annotation file, valid in the sense of this module.

    Raises UsageError when it is absent, IntegrityError, naming the place, when it is not valid.
    """
    content = read(path)
    if not isinstance(content, dict) or not REQUIRED_KEYS.keys() <= content.keys():
        found = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise IntegrityError(
            f"{path} is not a COCO annotation file: expected the keys images, annotations and "
            f"categories, found {found or 'none'}",
            hint="predictions go to --predictions, ground truth to --annotations",
        )
    for kind, keys in REQUIRED_KEYS.items():
        _require_keys(path, kind, content[kind], keys)
        _require_unique_ids(path, kind, content[kind])
    _check_images(path, content["images"])
    _check_annotations(path, content)
    return content


def _require_keys(path: Path, kind: str, rows: Any, keys: Iterable[str]) -> None:
    if not isinstance(rows, list):
        raise IntegrityError(f"{path}: {kind} must be a list, found {type(rows).__name__}")
    for position, row in enumerate(rows):
        missing = [key for key in keys if not isinstance(row, Mapping) or key not in row]
        if missing:
            raise IntegrityError(f"{path}: {kind}[{position}] lacks {', '.join(missing)}")
        if not isinstance(row["id"], int):
            raise IntegrityError(f"{path}: {kind}[{position}] has the id {row['id']!r}, no integer")


def _require_unique_ids(path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["id"] for row in rows)
    repeated = [identifier for identifier, count in counts.items() if count > 1]
    if repeated:
        raise IntegrityError(
            f"{path}: {len(repeated)} id(s) of {kind} are there more than once, "
            f"the first is {repeated[0]}",
            hint="give every row an id of its own; scoring would count such rows twice or not",
        )


def _check_images(path: Path, images: list[dict[str, Any]]) -> None:
    for image in images:
        sizes = (image["height"], image["width"])
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise IntegrityError(
                f"{path}: image {image['id']} has height and width {sizes}; "
                "both must be positive integers"
            )


def _check_annotations(path: Path, content: dict[str, Any]) -> None:
    images = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for row in content["annotations"]:
        where = f"{path}: annotation {row['id']}"
        if row["image_id"] not in images:
            raise IntegrityError(f"{where} belongs to image {row['image_id']}, which is not listed")
        if row["category_id"] not in categories:
            raise IntegrityError(f"{where} has category {row['category_id']}, which is not listed")
        box = row["bbox"]
        if len(box) != 4 or not all(isinstance(x, int | float) and math.isfinite(x) for x in box):
            raise IntegrityError(f"{where} has the box {box}; expected four finite numbers")


def _oddities(content: dict[str, Any]) -> Iterable[str]:
    """One sentence for each kind of oddity that scoring survives."""
    rows = content["annotations"]
    empty_boxes = sum(row["bbox"][2] <= 0 or row["bbox"][3] <= 0 for row in rows)
    if empty_boxes:
        yield f"{empty_boxes} annotation(s) have a box of zero or negative size"
    segmented = [row for row in rows if "segmentation" in row]
    empty_masks = sum(_is_degenerate(row["segmentation"]) for row in segmented)
    if empty_masks:
        yield f"{empty_masks} annotation(s) have an empty or degenerate segmentation"
    names = Counter(category["name"] for category in content["categories"])
    repeated = sorted(name for name, count in names.items() if count > 1)
    if repeated:
        yield f"category names that repeat: {', '.join(repeated)}; scores are kept by id"
    if any(category["id"] == 0 for category in content["categories"]):
        yield "category ids start at 0"
    annotated = {row["image_id"] for row in rows}
    bare = len(content["images"]) - len(annotated)
    if bare:
        yield f"{bare} image(s) have no annotation"
    if any("area" not in row for row in rows):
        yield "annotations without an area: the box area decides their size class"


def _is_degenerate(segmentation: Any) -> bool:
    """True for no polygon at all, or one of fewer than three points."""
    if isinstance(segmentation, Mapping):
        return False
    return not segmentation or any(len(polygon) < 6 for polygon in segmentation)
