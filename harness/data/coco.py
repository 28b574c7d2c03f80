"""COCO annotation files: parsed, proved, and ready for scoring.

An annotation file decides every number, so what would bend a number silently is an error here:
duplicate ids, annotations of images that are not listed, sizes that are not positive. What is odd
but has a defined meaning (an empty box, a category id of 0) is kept and reported as a warning.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.core.dataset import Category, Dataset, ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.files.digest import file_digest
from harness.files.json import read
from harness.measure.polygons import usable_polygons
from harness.measure.rle import run_lengths

REQUIRED_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}

#: The evaluators keep ids in 64 bits.
LARGEST_ID = 2**63 - 1

#: They draw polygons point by point, wherever these lie: at 1e8 px pycocotools crashes.
FARTHEST_PX = 1e5


def read_dataset(annotations: Path, images_dir: Path, *, name: str | None = None) -> Dataset:
    """The data set of an annotation file and the folder its images lie in.

    name: how records call it; None takes the file's stem.
    """
    if not images_dir.is_dir():
        raise UsageError(f"no such folder of images: {images_dir}", hint="give it with --images")
    return dataset_of(read_annotations(annotations), annotations, images_dir, name=name)


def dataset_of(
    content: dict[str, Any], annotations: Path, images_dir: Path, *, name: str | None = None
) -> Dataset:
    """The same of an annotation file that was read already. content: of ``read_annotations``."""
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
        crowd_count=sum(row.get("iscrowd", 0) for row in rows),
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
    sizes = _sizes(path, content["images"])
    categories = {category["id"] for category in content["categories"]}
    for category in content["categories"]:
        if not isinstance(category["name"], str):
            raise IntegrityError(f"{path}: category {category['id']} has no name of text")
    for row in content["annotations"]:
        fault = _fault(row, sizes, categories)
        if fault:
            raise IntegrityError(f"{path}: annotation {row['id']} {fault}")
    return content


def _require_keys(path: Path, kind: str, rows: Any, keys: Iterable[str]) -> None:
    if not isinstance(rows, list):
        raise IntegrityError(f"{path}: {kind} must be a list, found {type(rows).__name__}")
    for position, row in enumerate(rows):
        missing = [key for key in keys if not isinstance(row, Mapping) or key not in row]
        if missing:
            raise IntegrityError(f"{path}: {kind}[{position}] lacks {', '.join(missing)}")
        identifier = row["id"]
        if type(identifier) is not int or abs(identifier) > LARGEST_ID:
            raise IntegrityError(
                f"{path}: {kind}[{position}] has the id {shown(identifier)}; "
                "expected an integer of 64 bits"
            )


def _require_unique_ids(path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["id"] for row in rows)
    repeated = [identifier for identifier, count in counts.items() if count > 1]
    if repeated:
        raise IntegrityError(
            f"{path}: {len(repeated)} id(s) of {kind} are there more than once, "
            f"the first is {repeated[0]}",
            hint="give every row an id of its own; scoring would count such rows twice or not",
        )


def _sizes(path: Path, images: list[dict[str, Any]]) -> dict[int, tuple[int, int]]:
    """(height, width) by image id."""
    for image in images:
        if not isinstance(image["file_name"], str) or not image["file_name"]:
            raise IntegrityError(f"{path}: image {image['id']} has no file name of text")
        size = (image["height"], image["width"])
        if not all(type(side) is int and side > 0 for side in size):
            raise IntegrityError(
                f"{path}: image {image['id']} has height and width {shown(size)}; "
                "both must be positive integers"
            )
    return {image["id"]: (image["height"], image["width"]) for image in images}


def _fault(
    row: Mapping[str, Any], sizes: Mapping[int, tuple[int, int]], categories: set[int]
) -> str | None:
    """What is wrong with an annotation, as the end of a sentence; None when nothing is."""
    image, category, box = row["image_id"], row["category_id"], row["bbox"]
    if type(image) is not int or image not in sizes:
        return f"belongs to image {shown(image)}, which is not listed"
    if type(category) is not int or category not in categories:
        return f"has category {shown(category)}, which is not listed"
    if not isinstance(box, list) or len(box) != 4 or not finite(box):
        return f"has the box {shown(box)}; expected four finite numbers"
    if not finite([row.get("area", 0)]):
        return f"has the area {shown(row['area'])}; expected a finite number"
    if row.get("iscrowd", 0) not in (0, 1):
        return f"has iscrowd {shown(row['iscrowd'])}; expected 0 or 1"
    return segmentation_fault(row.get("segmentation"), *sizes[image])


def segmentation_fault(segmentation: Any, height_px: int, width_px: int) -> str | None:
    """What is wrong with it, as the end of a sentence; None when nothing is.

    Run lengths that do not add up to the image are no oddity: evaluators never come back.
    """
    match segmentation:
        case None:
            return None
        case list():
            if not all(isinstance(polygon, list) and finite(polygon) for polygon in segmentation):
                return "has a segmentation that is no list of polygons of finite numbers"
            if any(max(map(abs, polygon), default=0) > FARTHEST_PX for polygon in segmentation):
                return f"has a polygon that leaves its image by more than {FARTHEST_PX:,.0f} px"
            return None
        case {"size": size, "counts": str() | list() as counts}:
            if size != [height_px, width_px]:
                return f"has a mask of size {shown(size)} in an image of {[height_px, width_px]}"
            runs = run_lengths(counts)
            if runs is not None and sum(runs) == height_px * width_px:
                return None
            found = "no run lengths" if runs is None else f"run lengths of {sum(runs)} px"
            return f"has {found} for a mask of {height_px} × {width_px} px"
        case _:
            return f"has the segmentation {shown(segmentation)}; expected polygons or run lengths"


def finite(numbers: list[Any]) -> bool:
    """True when all are numbers, none NaN or infinite; a sum is the fastest way to ask."""
    try:
        return math.isfinite(sum(numbers))
    except (TypeError, OverflowError):
        return False


def shown(value: Any) -> str:
    """A value as an error shows it: cut off where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _oddities(content: dict[str, Any]) -> Iterator[str]:
    """One sentence for each kind of oddity that scoring survives, with what it makes of it."""
    rows, categories = content["annotations"], content["categories"]
    empty_boxes = sum(row["bbox"][2] <= 0 or row["bbox"][3] <= 0 for row in rows)
    if empty_boxes:
        yield f"{empty_boxes} annotation(s) have a box of zero or negative size: nothing matches it"
    masked = any(row.get("segmentation") for row in rows)
    degenerate = sum(_is_degenerate(row.get("segmentation")) for row in rows) if masked else 0
    if degenerate:
        yield (
            f"{degenerate} annotation(s) have an empty or degenerate segmentation: polygons of "
            "fewer than three points, or of an odd number of coordinates, count nowhere"
        )
    names = Counter(category["name"] for category in categories)
    repeated = sorted(name for name, count in names.items() if count > 1)
    if repeated:
        yield f"category names that repeat: {', '.join(repeated)}; scores are kept by id"
    if any(category["id"] == 0 for category in categories):
        yield "category ids start at 0"
    bare = len(content["images"]) - len({row["image_id"] for row in rows})
    if bare:
        yield f"{bare} image(s) have no annotation"
    for key, meaning in (
        ("area", "the area of the box decides their size class"),
        ("iscrowd", "they count as single objects"),
    ):
        lacking = sum(key not in row for row in rows)
        if lacking:
            yield f"{lacking} annotation(s) have no {key}: {meaning}"


def _is_degenerate(segmentation: Any) -> bool:
    """True for no polygon at all, and for one that does not count (``measure.polygons``)."""
    if isinstance(segmentation, Mapping):
        return False
    return not segmentation or len(usable_polygons(segmentation)) < len(segmentation)
