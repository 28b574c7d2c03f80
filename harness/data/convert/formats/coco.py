r"""COCO's own format, as other programs write it: odd paths, ids from 0, boxes without masks.

Label Studio's COCO export is one of these: its file names are those of its server
(``..\..\media\upload\4\1a2b3c4d-cat.jpg``), and its categories count from 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError
from harness.data.coco import segmentation_fault
from harness.data.convert.geometry import box_outline
from harness.data.convert.image_matching import names_in_address
from harness.data.convert.source_annotations import Drawn, DrawnObject, Tally, told_size
from harness.files.json import read as read_json
from harness.measure.rle import decode, rle_of

KEYS = ("images", "annotations", "categories")


def is_coco(content: Any) -> bool:
    """Whether parsed JSON has the three lists of an annotation file."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)


def read(source: Path, tally: Tally) -> tuple[list[str], Iterator[Drawn]]:
    """The categories in the order of their ids, and a drawing an image."""
    content = read_json(source)
    if not is_coco(content):
        raise IntegrityError(f"{source} has not the lists {', '.join(KEYS)} of a COCO file")
    try:
        categories = {row["id"]: str(row["name"]) for row in content["categories"]}
        rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for row in content["annotations"]:
            rows[row["image_id"]].append(row)
        order = list(dict.fromkeys(categories[key] for key in sorted(categories)))
        if len(order) < len(categories):
            joined = len(categories) - len(order)
            tally.note("categories joined with another of their name", str(source), joined)
        images = sorted(content["images"], key=lambda row: str(row["file_name"]))
        if len({row["id"] for row in images}) < len(images):
            raise IntegrityError(f"{source} has one id for several images")
        return order, _drawings(images, rows, categories, source, tally)
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{source} is no COCO file: a row lacks {error}") from None


def _drawings(
    images: list[dict[str, Any]],
    rows: dict[Any, list[dict[str, Any]]],
    categories: dict[Any, str],
    source: Path,
    tally: Tally,
) -> Iterator[Drawn]:
    for image in images:
        where = f"{source}: image {image.get('id')}"
        size = told_size(image.get("height"), image.get("width"))
        objects = (
            _object(row, size, categories, source, tally) for row in rows.pop(image["id"], [])
        )
        yield Drawn(
            where=where,
            names=(str(image["file_name"]), *names_in_address(str(image["file_name"]))),
            beside=source.parent,
            frame=size,
            size_px=size,
            objects=tuple(one for one in objects if one is not None),
        )
    for left in rows.values():
        where = f"{source}: annotation {left[0].get('id')}"
        tally.drop("of an image that is not listed", where, len(left))


def _object(
    row: dict[str, Any],
    size: tuple[int, int] | None,
    categories: dict[Any, str],
    source: Path,
    tally: Tally,
) -> DrawnObject | None:
    where = f"{source}: annotation {row.get('id')}"
    category = row.get("category_id")
    if not isinstance(category, (int, float, str)) or category not in categories:
        tally.drop("of a category that is not listed", where)
        return None
    blank = DrawnObject(category=categories[category], where=where, crowd=bool(row.get("iscrowd")))
    segmentation = row.get("segmentation")
    if isinstance(segmentation, dict):
        if size is None or segmentation_fault(segmentation, *size):
            tally.drop("whose run lengths do not fit their image", where)
            return None
        return replace(blank, mask=decode(rle_of(segmentation, *size)))
    if segmentation:
        fault = segmentation_fault(segmentation, *(size or (1, 1)))
        if fault or any(len(polygon) % 2 for polygon in segmentation):
            tally.drop("whose segmentation is no list of polygons", where)
            return None
        return replace(blank, outlines=tuple(map(list, segmentation)))
    try:
        x, y, box_width, box_height = (float(number) for number in row["bbox"])
    except (KeyError, TypeError, ValueError):
        tally.drop("without a segmentation and without a box", where)
        return None
    outline = box_outline(x, y, x + box_width, y + box_height)
    return replace(blank, outlines=(outline,), is_box=True)
