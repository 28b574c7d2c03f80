"""A COCO annotation file from aligned annotations: ids, boxes, areas, and what was left out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.data.coco import finite
from harness.data.convert.alignment import AlignedAnnotations, Claim
from harness.data.convert.geometry import clipped, extent_xyxy, object_area
from harness.data.convert.source_annotations import SourceObject, Tally
from harness.measure.masks import area_px, box_xywh_px, rle_of, usable_polygons

#: Digits after the point of coordinates in px: finer than anyone draws.
DIGITS = 3

#: Coordinates in px that no image has; beyond 1e150 their products are infinite.
FARTHEST_PX = 1e9

#: What str.strip leaves at the ends of a name: marks without width.
INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """How annotations are converted."""

    categories: tuple[str, ...] | None = None
    """Names in the order of their ids, and the only ones; None for all that were annotated."""

    order: Sequence[str] = ()
    """Names a source lists, in that order; the others follow sorted."""

    boxes_as_masks: bool = False
    """A box stands for the pixels it encloses."""


#: The annotations of one image with their rows.
Converted = tuple[AlignedAnnotations, list[dict[str, Any]]]


def to_coco(
    sources: Iterable[AlignedAnnotations], options: ConvertOptions, tally: Tally
) -> dict[str, Any]:
    """The content of an annotation file: images by file name, ids from 1 without gaps.

    The same annotations give the same content, whatever order their images come in.

    Args:
        sources: Annotations in pixels of their images.
        options: How they are converted.
        tally: What is left out or changed is counted here.
    """
    by_name: dict[str, list[Converted]] = {}
    for source in sources:
        rows = [row for one in source.objects if (row := _row(one, source, options, tally))]
        # Outlines and masks are not needed any more.
        by_name.setdefault(source.file_name, []).append((replace(source, objects=()), rows))
    kept = {name: one for name in sorted(by_name) if (one := _one_image(by_name[name], tally))}
    found = {row["category"] for _, rows in kept.values() for row in rows}
    _note_look_alikes(found, tally)
    ids = {name: number for number, name in enumerate(_names(found, options, tally), start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, (source, rows)) in enumerate(kept.items(), start=1):
        size = {"height": source.height_px, "width": source.width_px}
        images.append({"id": image_id, "file_name": name, **size})
        for row in rows:
            category = ids[row.pop("category")]
            numbers = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
            annotations.append({**numbers, **row})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _one_image(found: Sequence[Converted], tally: Tally) -> Converted | None:
    """All annotations of one file joined; those that hardly mean it are left out, and counted."""
    surest = min(source.claim for source, _ in found)
    kept = [one for one in found if one[0].claim == surest]
    rivals = {source.stated_path for source, _ in kept} if surest == Claim.ENDING else ()
    if len(rivals) > 1:
        kept = []
    for source, rows in found:
        if not any(source is one for one, _ in kept):
            _drop(source, rows, "several annotations of different paths could mean one file", tally)
    if not kept:
        return None
    first, rows = kept[0]
    rows = [*rows]
    for source, more in kept[1:]:
        if (source.height_px, source.width_px) != (first.height_px, first.width_px):
            _drop(source, more, "listed again in another size", tally)
            continue
        tally.note("files about an image that another one describes: joined", source.where)
        rows += more
    return first, rows


def _drop(
    source: AlignedAnnotations, rows: Sequence[dict[str, Any]], reason: str, tally: Tally
) -> None:
    tally.image(reason, f"{source.where}: {source.file_name}")
    if rows:
        tally.drop(f"on an image left out: {reason}", source.where, len(rows))


def _note_look_alikes(names: set[str], tally: Tally) -> None:
    """Names that only differ in case are two categories, and mostly a slip of the pen."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        key = " ".join(name.casefold().split())
        if key in seen:
            tally.note("categories that differ in case only", f"{seen[key]}, {name}", 2)
        seen[key] = name


def _names(found: set[str], options: ConvertOptions, tally: Tally) -> list[str]:
    """Every category once: those that are listed, in their order, then the others."""
    listed = options.order if options.categories is None else options.categories
    names: dict[str, None] = {}
    for one in listed:
        name = category_name(one)
        if name != one:
            tally.note("category names with spaces around them, or decomposed", name)
        if name in names:
            tally.note("category names listed more than once: one category", name)
        elif name:
            names[name] = None
    if options.categories is None:
        names |= dict.fromkeys(sorted(found - names.keys()))
    return list(names)


def category_name(name: str) -> str:
    """A category's name without spaces around it, its letters composed (NFC).

    Half characters and zero bytes, which nothing can show, become question marks.
    """
    text = name.encode("utf-8", "replace").decode("utf-8")
    bare = unicodedata.normalize("NFC", text).strip().strip(INVISIBLE).strip()
    return bare.replace("\0", "?")


def _row(
    one: SourceObject, source: AlignedAnnotations, options: ConvertOptions, tally: Tally
) -> dict[str, Any] | None:
    """One annotation, with the name of its category; None, and counted, for what is none."""
    name = category_name(one.category)
    if not name:
        tally.drop("without a category", one.where)
        return None
    if options.categories is not None and name not in map(category_name, options.categories):
        tally.drop(f"of a category not asked for: {name[:80]}", one.where)
        return None
    if name != one.category:
        tally.note("objects whose category has spaces around it, or is decomposed", one.where)
    shape = _masked(one.mask) if one.mask is not None else _outlined(one, source, options)
    if isinstance(shape, str):
        tally.drop(shape, one.where)
        return None
    if one.is_box and not options.boxes_as_masks:
        tally.note("objects that are boxes, with no mask: --boxes-as-masks gives one", one.where)
    return {"category": name, **shape, "iscrowd": int(one.crowd)}


def _masked(mask: Any) -> dict[str, Any] | str:
    pixels = area_px(mask)
    if not pixels:
        return "whose mask is empty"
    segmentation = {"size": [mask.height_px, mask.width_px], "counts": mask.counts}
    return {"bbox": box_xywh_px(mask), "area": pixels, "segmentation": segmentation}


def _outlined(
    one: SourceObject, source: AlignedAnnotations, options: ConvertOptions
) -> dict[str, Any] | str:
    height, width = source.height_px, source.width_px
    if not all(finite(outline) for outline in one.outlines):
        return "with coordinates that are no finite numbers"
    if any(max(map(abs, outline), default=0) > FARTHEST_PX for outline in one.outlines):
        return "with coordinates that no image has"
    usable = usable_polygons(one.outlines)
    if not usable:
        return "of fewer than three points"
    cut = [clipped(outline, height, width) for outline in usable]
    kept = [[round(number, DIGITS) for number in outline] for outline in cut if outline]
    if not kept:
        return "without an area inside their image"
    left, top, right, bottom = extent_xyxy(kept)
    box = [left, top, round(right - left, DIGITS), round(bottom - top, DIGITS)]
    if one.is_box and not options.boxes_as_masks:
        return {"bbox": box, "area": round(box[2] * box[3], DIGITS)}
    pixels = area_px(rle_of(kept, height, width))
    if not pixels:
        return "too small to cover a pixel"
    area = round(object_area(kept, pixels), DIGITS)
    return {"bbox": box, "area": area, "segmentation": kept}
