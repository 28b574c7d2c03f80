"""A COCO annotation file out of placed drawings: ids, boxes, areas, and what could not be kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.coco import finite
from harness.data.convert.alignment import Placed
from harness.data.convert.geometry import clipped, extent_xyxy, object_area
from harness.data.convert.source_annotations import DrawnObject, Tally
from harness.measure.rle import area_px, box_xywh_px, encode_region, rle_of

#: Digits after the point of coordinates in px: finer than anyone draws.
DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What becomes of drawings.

    categories: their names in the order of their ids, and the only ones; None for all that are
    drawn. order: names a source lists, in that order; the others follow sorted. boxes_as_masks:
    whether a box stands for the pixels it encloses.
    """

    categories: tuple[str, ...] | None = None
    order: Sequence[str] = ()
    boxes_as_masks: bool = False


def assembled(drawings: Iterable[Placed], wanted: Wanted, tally: Tally) -> dict[str, Any]:
    """The content of an annotation file: images by file name, ids from 1 without gaps.

    The same drawings give the same content, whatever order they come in.
    """
    by_name: dict[str, tuple[Placed, list[dict[str, Any]]]] = {}
    for drawn in drawings:
        rows = [row for one in drawn.objects if (row := _row(one, drawn, wanted, tally))]
        if drawn.file_name in by_name:
            tally.note("file(s) about an image that another one describes: joined", drawn.where)
            by_name[drawn.file_name][1].extend(rows)
        else:
            by_name[drawn.file_name] = (drawn, rows)
    found = {row["category"] for _, rows in by_name.values() for row in rows}
    _note_look_alikes(found, tally)
    ids = {name: number for number, name in enumerate(_names(found, wanted), start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, name in enumerate(sorted(by_name), start=1):
        drawn, rows = by_name[name]
        size = {"height": drawn.height_px, "width": drawn.width_px}
        images.append({"id": image_id, "file_name": name, **size})
        for row in rows:
            category = ids[row.pop("category")]
            numbers = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
            annotations.append({**numbers, **row})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _note_look_alikes(names: set[str], tally: Tally) -> None:
    """Names that only differ in case are two categories, and mostly a slip of the pen."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        if name.casefold() in seen:
            tally.note("categories that differ in case only", f"{seen[name.casefold()]}, {name}", 2)
        seen[name.casefold()] = name


def _names(found: set[str], wanted: Wanted) -> list[str]:
    if wanted.categories is not None:
        return list(wanted.categories)
    return [*wanted.order, *sorted(found - set(wanted.order))]


def _row(one: DrawnObject, drawn: Placed, wanted: Wanted, tally: Tally) -> dict[str, Any] | None:
    """One annotation, with the name of its category; None, and counted, for what is none."""
    name = one.category.strip()
    if not name:
        tally.drop("without a category", one.where)
        return None
    if wanted.categories is not None and name not in wanted.categories:
        tally.drop(f"of a category not asked for: {name}", one.where)
        return None
    shape = _masked(one) if one.mask is not None else _outlined(one, drawn, wanted)
    if isinstance(shape, str):
        tally.drop(shape, one.where)
        return None
    if one.is_box and not wanted.boxes_as_masks:
        tally.note("object(s) that are boxes, with no mask: --boxes-as-masks gives one", one.where)
    return {"category": name, **shape, "iscrowd": int(one.crowd)}


def _masked(one: DrawnObject) -> dict[str, Any] | str:
    mask = one.mask
    assert mask is not None
    if not mask.any():
        return "whose mask is empty"
    height, width = mask.shape
    rle = encode_region(mask, top_px=0, left_px=0, height_px=height, width_px=width)
    segmentation = {"size": [height, width], "counts": rle.counts}
    return {"bbox": box_xywh_px(rle), "area": area_px(rle), "segmentation": segmentation}


def _outlined(one: DrawnObject, drawn: Placed, wanted: Wanted) -> dict[str, Any] | str:
    height, width = drawn.height_px, drawn.width_px
    if not all(finite(outline) for outline in one.outlines):
        return "with coordinates that are no finite numbers"
    if not any(len(outline) >= 6 for outline in one.outlines):
        return "of fewer than three points"
    cut = [clipped(outline, height, width) for outline in one.outlines]
    kept = [[round(number, DIGITS) for number in outline] for outline in cut if outline]
    if not kept:
        return "without an area inside their image"
    left, top, right, bottom = extent_xyxy(kept)
    box = [left, top, round(right - left, DIGITS), round(bottom - top, DIGITS)]
    if one.is_box and not wanted.boxes_as_masks:
        return {"bbox": box, "area": round(box[2] * box[3], DIGITS)}
    pixels = area_px(rle_of(kept, height, width))
    if not pixels:
        return "too small to cover a pixel"
    area = round(object_area(kept, pixels), DIGITS)
    return {"bbox": box, "area": area, "segmentation": kept}
