r"""COCO's own format, as other programs write it: odd paths, ids from 0, boxes without masks.

Label Studio's COCO export is one of these: its file names are those of its server
(``..\..\media\upload\4\1a2b3c4d-cat.jpg``), and its categories count from 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.printable import shown
from harness.data.coco import segmentation_fault
from harness.data.convert.geometry import box_outline
from harness.data.convert.source_annotations import (
    Outline,
    SourceAnnotations,
    SourceObject,
    Tally,
    stated_size,
)
from harness.data.fields import flag_of, number_of
from harness.data.not_coco import foreign_annotations
from harness.data.text_files import read_json
from harness.measure.masks import rle_of, usable_polygons

KEYS = ("images", "annotations", "categories")

#: What a row must have to be counted as one.
REQUIRED = {
    "images": ("id", "file_name"),
    "annotations": ("image_id",),
    "categories": ("id", "name"),
}


def is_coco(content: Any) -> bool:
    """Whether parsed JSON has the three lists of an annotation file."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file being read."""

    path: Path
    """Where it is."""

    categories: Mapping[Any, str]
    """Name by id."""

    tally: Tally
    """What is left out is counted here."""


def read(
    source: Path, tally: Tally, *, encoding: str | None = None
) -> tuple[list[str], Iterator[SourceAnnotations]]:
    """The categories in the order of their ids, and the annotations of every image.

    Args:
        source: The file.
        tally: What is left out is counted here.
        encoding: Encoding of the file, where that is not certain.

    Raises:
        IntegrityError: It is not a COCO file, contradicts itself, or has a flag that is none.
    """
    content = read_json(source, encoding=encoding)
    _require_instances(content, source, tally)
    for kind, keys in REQUIRED.items():
        _require_rows(source, kind, content[kind], keys)
    categories = {row["id"]: str(row["name"]) for row in content["categories"]}
    order = list(dict.fromkeys(categories[key] for key in sorted(categories, key=_order)))
    if len(order) < len(categories):
        joined = len(categories) - len(order)
        tally.note("categories joined with another of their name", str(source), joined)
    if len(categories) < len(content["categories"]):
        raise IntegrityError(f"{source} has one id for several categories")
    images = sorted(content["images"], key=lambda row: str(row["file_name"]))
    if len({row["id"] for row in images}) < len(images):
        raise IntegrityError(f"{source} has one id for several images")
    rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in content["annotations"]:
        rows[row["image_id"]].append(row)
    return order, _annotations(images, rows, _File(path=source, categories=categories, tally=tally))


def _require_instances(content: Any, source: Path, tally: Tally) -> None:
    """Raise IntegrityError for what is not a COCO file of boxes and masks."""
    # Of a file of keypoints, boxes and masks are worth having: its categories are not looked at.
    without_categories = {**content, "categories": []} if isinstance(content, dict) else content
    foreign = foreign_annotations(without_categories)
    if foreign is not None:
        raise IntegrityError(f"{source} is {foreign.what}", hint=foreign.hint)
    if not is_coco(content):
        raise IntegrityError(f"{source} lacks the lists {', '.join(KEYS)} of a COCO file")
    if any(isinstance(row, dict) and row.get("keypoints") for row in content["categories"]):
        tally.note("files of keypoints: boxes and masks are kept, keypoints are not", str(source))


def _order(identifier: Any) -> tuple[bool, Any]:
    """Numbers in their order, before text."""
    is_text = isinstance(identifier, str)
    return is_text, identifier


def _require_rows(source: Path, kind: str, rows: list[Any], keys: tuple[str, ...]) -> None:
    for position, row in enumerate(rows):
        where = f"{source} is not a COCO file: {kind}[{position}]"
        missing = [key for key in keys if not isinstance(row, dict) or key not in row]
        if missing:
            raise IntegrityError(f"{where} lacks {', '.join(map(repr, missing))}")
        for key in keys:
            if key.endswith("id") and not _is_id(row[key]):
                raise IntegrityError(f"{where} has the {key} {shown(row[key])}")
            if key in ("file_name", "name") and isinstance(row[key], (list, dict, type(None))):
                raise IntegrityError(f"{where} has the {key} {shown(row[key])}")


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and isinstance(value, Hashable) and value == value


def _annotations(
    images: list[dict[str, Any]], rows: dict[Any, list[dict[str, Any]]], file: _File
) -> Iterator[SourceAnnotations]:
    for image in images:
        size = stated_size(image.get("height"), image.get("width"))
        objects = (_object(row, size, file) for row in rows.pop(image["id"], []))
        yield SourceAnnotations(
            where=f"{file.path}: image {image['id']}",
            names=(str(image["file_name"]),),
            beside=file.path.parent,
            frame=size,
            size_px=size,
            objects=tuple(one for one in objects if one is not None),
        )
    for left in rows.values():
        where = f"{file.path}: annotation {left[0].get('id')}"
        file.tally.drop("of an image that is not listed", where, len(left))


def _object(row: dict[str, Any], size: tuple[int, int] | None, file: _File) -> SourceObject | None:
    where = f"{file.path}: annotation {shown(row.get('id'))}"
    category = row.get("category_id")
    if not _is_id(category) or category not in file.categories:
        file.tally.drop("of a category that is not listed", where)
        return None
    try:
        crowd = flag_of(row.get("iscrowd"))
    except ValueError as error:
        raise IntegrityError(f"{where}: iscrowd {error}") from None
    blank = SourceObject(category=file.categories[category], where=where, crowd=crowd)
    segmentation = row.get("segmentation")
    if isinstance(segmentation, dict):
        if size is None or segmentation_fault(segmentation, *size):
            file.tally.drop("whose run lengths do not fit their image", where)
            return None
        return replace(blank, mask=rle_of(segmentation, *size))
    polygons = _polygons(segmentation)
    if polygons is None:
        file.tally.drop("whose segmentation is not a list of polygons", where)
        return None
    usable = usable_polygons(polygons)
    if usable:
        if len(usable) < len(polygons):
            file.tally.note("objects that lost a polygon that does not count", where)
        return replace(blank, outlines=tuple(map(list, usable)))
    return _boxed(row, blank, file.tally)


def _boxed(row: Mapping[str, Any], blank: SourceObject, tally: Tally) -> SourceObject | None:
    """The object as its box; None, and counted, where it has none."""
    try:
        x, y, width, height = (number_of(number) for number in row["bbox"])
    except (KeyError, TypeError, ValueError):
        tally.drop("without a segmentation and without a box", blank.where)
        return None
    if row.get("segmentation"):
        tally.note("objects whose polygons do not count: their boxes are kept", blank.where)
    if min(width, height) < 0:
        tally.note("boxes with a negative side: taken as drawn the other way", blank.where)
    outline = box_outline(x, y, x + width, y + height)
    return replace(blank, outlines=(outline,), is_box=True)


def _polygons(segmentation: Any) -> list[Outline] | None:
    """The polygons of a segmentation; also of one polygon that is not in a list; None for no such
    list. A number that is none is NaN, which to_coco counts.
    """
    if segmentation in (None, "", [], {}):
        return []
    if not isinstance(segmentation, list):
        return None
    try:
        if all(isinstance(one, list) for one in segmentation):
            return [[number_of(number) for number in one] for one in segmentation]
        return [[number_of(number) for number in segmentation]]
    except ValueError:
        return None
