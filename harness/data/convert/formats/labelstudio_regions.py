"""Label Studio's regions: what one person drew on one image, in percent of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.convert.formats.brush import decoded
from harness.data.convert.geometry import box_outline, ellipse_outline, flat, scaled, turned
from harness.data.convert.source_annotations import DrawnObject, Outline, Tally, told_size

#: Kinds of region with an area, by what the type of a result begins with.
KINDS = ("polygon", "rectangle", "ellipse", "brush")

#: Results that say something about a task or a region, and draw nothing.
ANSWERS = (
    "choices",
    "textarea",
    "rating",
    "taxonomy",
    "number",
    "datetime",
    "relation",
    "pairwise",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region. labels: mostly one. size_px: (height, width) the program saw. angle: degrees by
    which the view of the image was turned. item: which image of the task, None for the only one.
    """

    where: str
    kind: str
    value: Mapping[str, Any]
    labels: Sequence[str]
    size_px: tuple[int, int] | None
    angle: float
    item: int | None


def regions_of(results: Sequence[Any], where: str) -> list[Region]:
    """The regions of a ``result`` list.

    Where labels are a control of their own, a region is told once for each control, under one id.
    """
    by_id: dict[Any, list[dict[str, Any]]] = {}
    for position, result in enumerate(results):
        if isinstance(result, dict) and result.get("type") not in ANSWERS:
            by_id.setdefault(result.get("id") or ("nameless", position), []).append(result)
    return [_region(told, f"{where}, region {key}") for key, told in by_id.items()]


def _region(told: list[dict[str, Any]], where: str) -> Region:
    value: dict[str, Any] = {}
    for one in told:
        value |= one.get("value") or {}
    types = [str(one.get("type", "")) for one in told]
    kinds = [kind for kind in KINDS for one in types if one.startswith(kind)]
    labels = [label for key, found in value.items() if key.endswith("labels") for label in found]
    return Region(
        where=where,
        kind=kinds[0] if kinds else types[0],
        value=value,
        labels=labels,
        size_px=told_size(told[0].get("original_height"), told[0].get("original_width")),
        angle=float(told[0].get("image_rotation") or 0),
        item=told[0].get("item_index"),
    )


def drawn_region(region: Region, tally: Tally) -> DrawnObject | None:
    """The region as an object; None, and counted, for what is none."""
    if region.kind not in KINDS:
        tally.drop(f"drawn as {region.kind or 'nothing'}, which has no area", region.where)
        return None
    if region.item:
        tally.drop("on a further image of their task", region.where)
        return None
    if region.angle % 360:
        tally.drop("drawn on a turned view of their image", region.where)
        return None
    if not region.labels:
        tally.drop("without a category", region.where)
        return None
    if len(region.labels) > 1:
        tally.note("object(s) with several labels: the first is taken", region.where)
    try:
        if region.kind == "brush":
            return _painted(region)
        outline = OUTLINES[region.kind](region)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        tally.drop("that cannot be read", f"{region.where}: {error}")
        return None
    return DrawnObject(
        category=str(region.labels[0]),
        where=region.where,
        outlines=(outline,),
        is_box=region.kind == "rectangle",
    )


def _painted(region: Region) -> DrawnObject:
    if region.size_px is None:
        raise ValueError("nothing says how large its image is")
    mask = decoded(region.value["rle"], *region.size_px)
    return DrawnObject(category=str(region.labels[0]), where=region.where, mask=mask)


def _polygon(region: Region) -> Outline:
    return flat([(float(x), float(y)) for x, y in region.value["points"]])


def _rectangle(region: Region) -> Outline:
    """Turned clockwise about its top left corner."""
    x, y = float(region.value["x"]), float(region.value["y"])
    box = box_outline(x, y, x + float(region.value["width"]), y + float(region.value["height"]))
    return _turned(box, region, (x, y))


def _ellipse(region: Region) -> Outline:
    """Turned clockwise about its centre."""
    x, y = float(region.value["x"]), float(region.value["y"])
    radii = float(region.value["radiusX"]), float(region.value["radiusY"])
    return _turned(ellipse_outline(x, y, *radii), region, (x, y))


OUTLINES = {"polygon": _polygon, "rectangle": _rectangle, "ellipse": _ellipse}


def _turned(outline: Outline, region: Region, about: tuple[float, float]) -> Outline:
    """Percent turned as the pixels they stand for are: one percent is as many to the right as down
    only in a square image.
    """
    degrees = float(region.value.get("rotation") or 0)
    if not degrees:
        return outline
    if region.size_px is None:
        raise ValueError("it is turned, and nothing says how large its image is")
    height, width = region.size_px
    pixels = scaled(outline, width / 100, height / 100)
    centre = (about[0] * width / 100, about[1] * height / 100)
    return scaled(turned(pixels, degrees, centre), 100 / width, 100 / height)
