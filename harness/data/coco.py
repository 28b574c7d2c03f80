"""COCO annotation files: parsed, validated, and in one canonical form for every command.

An annotation file decides every number, so what would change a number without notice is an error
here: duplicate ids, annotations of images that are not listed, sizes that are not positive. What
pycocotools accepts and has only one meaning is accepted (a whole number written 1.0, a mask spelled
with needless characters) and put into its usual form; what is odd but has a defined meaning (an
empty box, a category id of 0) is kept and reported as a warning. ``data.predictions`` does the same
for predictions. What is valid here can be trained on, scored, drawn, split and merged.
"""

from __future__ import annotations

import math
import posixpath
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.dataset import Dataset, ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import counted, shown
from harness.data.not_coco import foreign_annotations
from harness.data.shapes import (
    KeypointRows,
    Masks,
    category_fault,
    category_of,
    finite,
    named_keypoints,
    segmentation_fault,
    whole,
)
from harness.files.digest import file_digest
from harness.files.json import read, read_with_digest
from harness.measure.keypoints import keypoint_count
from harness.measure.masks import size_fault, usable_polygons

__all__ = [
    "dataset_of",
    "finite",
    "read_annotations",
    "read_dataset",
    "segmentation_fault",
    "shown",
]

#: Where COCO's keypoints are, for hints.
KEYPOINTS_FROM = (
    "COCO's are in person_keypoints_val2017.json and person_keypoints_train2017.json, beside "
    "instances_*.json in annotations_trainval2017.zip: harness download --only annotations"
)

REQUIRED_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}

#: Keys whose values are checked one by one; others are not used, and only kept writable.
CHECKED_KEYS = {
    "images": frozenset(REQUIRED_KEYS["images"]),
    "categories": frozenset((*REQUIRED_KEYS["categories"], "keypoints", "skeleton", "sigmas")),
    "annotations": frozenset(
        (*REQUIRED_KEYS["annotations"], "area", "iscrowd", "segmentation", "keypoints")
    ),
}

#: The evaluators keep ids in 64 bits.
LARGEST_ID = 2**63 - 1

#: From here on a float32 misses whole pixels; no image is a hundredth of it.
FARTHEST_BOX_PX = 1e7


def read_dataset(
    annotations: Path, images_dir: Path, *, name: str | None = None, compact: bool = False
) -> Dataset:
    """The data set of an annotation file and the folder of its images, with the parsed file.

    Args:
        annotations: COCO annotation file; or one that only lists images and categories, as COCO's
            ``image_info_test-dev2017.json`` does. Its images can be inferred, and nothing scored.
        images_dir: Folder of its images.
        name: What records call it; None takes the file's stem.
        compact: Keep polygons as arrays of float64, which take a quarter of the memory of lists:
            enough for training, but not what evaluators read.

    Raises:
        UsageError: The file or the folder is not there.
        IntegrityError: The file is not valid.
    """
    if not images_dir.is_dir():
        raise UsageError(f"no such folder of images: {images_dir}", hint="give it with --images")
    content, digest = read_with_digest(annotations, convert=_compact if compact else None)
    if _lists_images(content):
        content["annotations"] = []
    _require_valid(annotations, content)
    return dataset_of(content, annotations, images_dir, name=name, digest=digest)


def _lists_images(content: Any) -> bool:
    """Whether a file has images and categories, and no table of annotations."""
    return isinstance(content, dict) and REQUIRED_KEYS.keys() - content.keys() == {"annotations"}


def _compact(parsed: dict[str, Any]) -> dict[str, Any]:
    """An object of the file, its polygons as arrays where they are lists of numbers."""
    polygons = parsed.get("segmentation")
    if type(polygons) is list:
        # What is not finite numbers stays as it is: validation reports it.
        parsed["segmentation"] = [
            array("d", one) if type(one) is list and finite(one) else one for one in polygons
        ]
    return parsed


def dataset_of(
    content: dict[str, Any],
    annotations: Path,
    images_dir: Path,
    *,
    name: str | None = None,
    digest: str | None = None,
) -> Dataset:
    """The data set of an annotation file that was read already.

    Args:
        content: As returned by ``read_annotations``.
        annotations: Where it was read from.
        images_dir: Folder of its images.
        name: Its name in records; None takes the file's stem.
        digest: sha256 of the file; None hashes it.
    """
    rows, points = content["annotations"], keypoint_count(content)
    return Dataset(
        name=name or annotations.stem,
        annotations_path=annotations,
        images_dir=images_dir,
        images=tuple(
            ImageRecord(image["id"], image["file_name"], image["height"], image["width"])
            for image in sorted(content["images"], key=lambda image: image["id"])
        ),
        categories=tuple(
            category_of(category, points)
            for category in sorted(content["categories"], key=lambda category: category["id"])
        ),
        annotation_count=len(rows),
        crowd_count=sum(row.get("iscrowd", 0) for row in rows),
        has_masks=any(row.get("segmentation") for row in rows),
        keypoint_count=points,
        digest=digest or file_digest(annotations),
        warnings=tuple(_oddities(content)),
        content=content,
    )


def read_annotations(path: Path, *, watch: Callable[[], None] | None = None) -> dict[str, Any]:
    """The parsed annotation file, valid and canonical in the sense of this module.

    Args:
        path: The file.
        watch: Called at every object of the file and every row; what it raises ends the reading.

    Raises:
        UsageError: When it is absent.
        IntegrityError: When it is not valid; names the row and what is wrong with it.
    """

    def watched(value: dict[str, Any]) -> dict[str, Any]:
        watch()  # type: ignore[misc]  # only used where there is one
        return value

    content: dict[str, Any] = read(path, convert=None if watch is None else watched)
    _require_valid(path, content, watch or (lambda: None))
    return content


def _require_valid(path: Path, content: Any, watch: Callable[[], None] = lambda: None) -> None:
    """Raise IntegrityError unless the content of ``path`` is valid; make it canonical."""
    _require_tables(content, path)
    for kind, keys in REQUIRED_KEYS.items():
        _require_keys(path, kind, content[kind], keys)
        _require_unique_ids(path, kind, content[kind])
    sizes = _sizes(path, content["images"])
    _require_names(path, content["categories"])
    categories = {category["id"] for category in content["categories"]}
    named = named_keypoints(content["categories"])
    masks, keypoints = Masks(), KeypointRows(labelled=True, names=named)
    for position, row in enumerate(content["annotations"]):
        watch()
        fault = (
            _fault(row, sizes, categories)
            or masks.fault(position, row, *sizes[row["image_id"]])
            or keypoints.fault(row)
        )
        if fault:
            raise IntegrityError(f"{path}: annotation {row['id']} {fault}")
    text_fault = masks.text_fault(watch=watch)
    if text_fault is not None:
        position, fault = text_fault
        raise IntegrityError(f"{path}: annotation {content['annotations'][position]['id']} {fault}")
    make_writable(content)


def _require_tables(content: Any, path: Path) -> None:
    """Raise IntegrityError for what is not an annotation file, or one of another task."""
    foreign = foreign_annotations(content)
    if foreign is not None:
        raise IntegrityError(f"{path} is {foreign.what}", hint=foreign.hint)
    if _lists_images(content):
        raise IntegrityError(
            f"{path} lists images and has no annotations, as COCO's files of test images: nothing "
            "can be scored or compared with it",
            hint="what a model finds in its images: harness eval --annotations FILE --images "
            "FOLDER, or harness predict",
        )
    if not isinstance(content, dict) or not REQUIRED_KEYS.keys() <= content.keys():
        found = "none" if content == {} else type(content).__name__
        if isinstance(content, dict) and content:
            first = ", ".join(str(key)[:30] for key in list(content)[:8])
            found = first if len(content) <= 8 else f"{first}, … and {len(content) - 8} more"
        raise IntegrityError(
            f"{path} is not a COCO annotation file: expected the keys images, annotations and "
            f"categories, found {found}",
            hint="predictions go to --predictions, ground truth to --annotations",
        )


def _require_keys(path: Path, kind: str, rows: Any, keys: Iterable[str]) -> None:
    """Raise IntegrityError for rows that lack a key, or whose id is none; make ids integers."""
    if not isinstance(rows, list):
        raise IntegrityError(f"{path}: {kind} must be a list, found {type(rows).__name__}")
    for position, row in enumerate(rows):
        missing = [key for key in keys if not isinstance(row, Mapping) or key not in row]
        if missing:
            raise IntegrityError(f"{path}: {kind}[{position}] lacks {', '.join(missing)}")
        identifier = whole(row["id"])
        if identifier is None or abs(identifier) > LARGEST_ID:
            raise IntegrityError(
                f"{path}: {kind}[{position}] has the id {shown(row['id'])}; "
                "expected an integer of 64 bits",
                hint="harness data clean FILE --output CLEAN replaces invalid ids by new numbers",
            )
        row["id"] = identifier


def _require_unique_ids(path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    if len({row["id"] for row in rows}) == len(rows):
        return
    counts = Counter(row["id"] for row in rows)
    repeated = [identifier for identifier, count in counts.items() if count > 1]
    if repeated:
        raise IntegrityError(
            f"{path}: {counted(len(repeated), 'id')} of {kind} repeated, "
            f"the first is {repeated[0]}",
            hint="give every row an id of its own; scoring would count such rows twice or never",
        )


def _sizes(path: Path, images: list[dict[str, Any]]) -> dict[int, tuple[int, int]]:
    """(height, width) by image id; sizes are integers then."""
    for image in images:
        fault = name_fault(image["file_name"], "file name")
        if fault is not None:
            raise IntegrityError(
                f"{path}: image {image['id']} {fault}",
                hint="leave such images out: harness data clean FILE --output CLEAN",
            )
        sides = whole(image["height"]), whole(image["width"])
        if sides[0] is None or sides[1] is None or min(sides[0], sides[1]) <= 0:
            raise IntegrityError(
                f"{path}: image {image['id']} has height and width "
                f"{shown((image['height'], image['width']))}; both must be positive integers"
            )
        image["height"], image["width"] = sides
        fault = size_fault(sides[0], sides[1])
        if fault is not None:
            raise IntegrityError(f"{path}: image {image['id']} {fault}")
    return {image["id"]: (image["height"], image["width"]) for image in images}


def _require_names(path: Path, categories: list[dict[str, Any]]) -> None:
    for category in categories:
        fault = name_fault(category["name"], "name") or category_fault(category)
        if fault is not None:
            raise IntegrityError(f"{path}: category {category['id']} {fault}")


def name_fault(name: Any, what: str) -> str | None:
    """Why a name is invalid, as the end of a sentence; None when it is valid.

    Args:
        name: Any value parsed from JSON.
        what: What it is a name of, for the sentence.
    """
    if not isinstance(name, str) or (not name and what == "file name"):
        return f"has no {what} of text: {shown(name)}"
    if "\0" in name:
        return f"has a NUL in its {what} {shown(name)}"
    if not is_text(name):
        return f"has a {what} that is no Unicode: {shown(name)}"
    return None


def is_text(value: str) -> bool:
    """Whether text can be written to a file or a terminal: JSON may hold half characters."""
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _fault(
    row: dict[str, Any], sizes: Mapping[int, tuple[int, int]], categories: set[int]
) -> str | None:
    """What is wrong with an annotation but for its mask, as the end of a sentence; None when
    nothing is. Makes ids integers.
    """
    image, category, box = whole(row["image_id"]), whole(row["category_id"]), row["bbox"]
    if image is None or image not in sizes:
        return f"belongs to image {shown(row['image_id'])}, which is not listed"
    if category is None or category not in categories:
        return f"has category {shown(row['category_id'])}, which is not listed"
    fault = box_fault(box)
    if fault is not None:
        return fault
    if not finite([row.get("area", 0)]):
        return f"has the area {shown(row['area'])}; expected a finite number"
    crowd = row.get("iscrowd", 0)
    if not isinstance(crowd, int | float) or crowd not in (0, 1):
        return f"has iscrowd {shown(crowd)}; expected 0 or 1"
    row["image_id"], row["category_id"] = image, category
    if type(crowd) is not int:
        row["iscrowd"] = int(crowd)
    return None


def box_fault(box: Any) -> str | None:
    """Why a box is invalid, as the end of a sentence; None when it is valid.

    Args:
        box: Any value parsed from JSON; valid is x, y, width, height in px.
    """
    if not isinstance(box, list) or len(box) != 4 or not finite(box):
        return f"has the box {shown(box)}; expected four finite numbers"
    if max(box) > FARTHEST_BOX_PX or min(box) < -FARTHEST_BOX_PX:
        return f"has the box {shown(box)}; no side or corner may exceed {FARTHEST_BOX_PX:,.0f} px"
    return None


def make_writable(content: dict[str, Any]) -> None:
    """Replace what JSON cannot hold, in fields that nothing here uses, by null.

    Args:
        content: Content of an annotation file; it has the three lists.
    """
    for kind, checked in CHECKED_KEYS.items():
        for row in content[kind]:
            for key in row.keys() - checked if isinstance(row, dict) else ():
                row[key] = _writable(row[key])
    for key in content.keys() - CHECKED_KEYS.keys():
        content[key] = _writable(content[key])


def _writable(value: Any) -> Any:
    """The value with null for every number that is not finite."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [_writable(one) for one in value]
        case dict():
            return {key: _writable(one) for key, one in value.items()}
        case _:
            return value


def _oddities(content: dict[str, Any]) -> Iterator[str]:
    """One sentence for each kind of oddity that scoring survives, with what it makes of it."""
    rows, categories = content["annotations"], content["categories"]
    empty_boxes = sum(row["bbox"][2] <= 0 or row["bbox"][3] <= 0 for row in rows)
    if empty_boxes:
        yield (
            f"{counted(empty_boxes, 'annotation has', 'annotations have')} a box of zero or "
            "negative size: nothing matches it"
        )
    negative = sum(row.get("area", 0) < 0 for row in rows)
    if negative:
        yield (
            f"{counted(negative, 'annotation has', 'annotations have')} a negative area: "
            "scoring counts them nowhere"
        )
    yield from _mask_oddities([row.get("segmentation") for row in rows])
    names = Counter(category["name"] for category in categories)
    repeated = sorted(name for name, count in names.items() if count > 1)
    if repeated:
        yield f"category names that repeat: {', '.join(repeated)}; scores are kept by id"
    if any(category["id"] == 0 for category in categories):
        yield "category ids start at 0"
    yield from _image_oddities(content)
    for key, meaning in (
        ("area", "the area of the box decides their size class"),
        ("iscrowd", "counted as a single object"),
    ):
        lacking = sum(key not in row for row in rows)
        if lacking:
            yield f"{counted(lacking, 'annotation has', 'annotations have')} no {key}: {meaning}"


def _mask_oddities(segmentations: Sequence[Any]) -> Iterator[str]:
    """Sentences about objects without a mask in a file that has masks."""
    boxes = sum(not one for one in segmentations)
    if boxes and boxes < len(segmentations):
        yield (
            f"{counted(boxes, 'annotation has', 'annotations have')} a box and no mask: scoring "
            "of masks counts them as objects that nothing finds"
        )
    degenerate = sum(bool(one) and _is_degenerate(one) for one in segmentations)
    if degenerate:
        yield (
            f"{counted(degenerate, 'annotation has', 'annotations have')} a degenerate "
            "segmentation: polygons of fewer than three points, or of an odd number of "
            "coordinates, count nowhere"
        )


def _image_oddities(content: dict[str, Any]) -> Iterator[str]:
    bare = len(content["images"]) - len({row["image_id"] for row in content["annotations"]})
    if bare and not content["annotations"]:
        yield "no image has an annotation: nothing can be scored"
    elif bare:
        yield f"{counted(bare, 'image has', 'images have')} no annotation"
    files = Counter(file_key(image["file_name"]) for image in content["images"])
    several = sorted(name for name, count in files.items() if count > 1)
    if several:
        yield (
            f"{counted(len(several), 'file is', 'files are')} listed as several images, the "
            f"first is {several[0]}: each row is evaluated and trained on by itself"
        )


def file_key(name: str) -> str:
    """Return one spelling for all names of a file: ``./b.jpg`` and ``b.jpg``, either slash."""
    return posixpath.normpath(name.replace("\\", "/"))


def _is_degenerate(segmentation: Any) -> bool:
    """True for a polygon that does not count (``measure.masks``)."""
    if isinstance(segmentation, Mapping):
        return False
    return len(usable_polygons(segmentation)) < len(segmentation)
