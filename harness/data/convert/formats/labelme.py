"""labelme, and X-AnyLabeling, which writes the same: a JSON file beside each image.

Shapes of one label and one group_id are one object, as in labelme's own export. A rectangle is a
box, a turned one too. What has no area (points, lines) is not an object. ``_background_`` and
``__ignore__`` are labelme's names for what is to be left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.run_lengths import Rle
from harness.data.convert.alignment import whole_mask
from harness.data.convert.formats.mask_images import bytes_in, mask_in
from harness.data.convert.geometry import Point, box_outline, ellipse_outline, extent_xyxy, flat
from harness.data.convert.source_annotations import (
    Outline,
    SourceAnnotations,
    SourceObject,
    Tally,
    stated_size,
)
from harness.data.fields import number_of
from harness.data.own_results import files_below
from harness.data.text_files import read_json
from harness.measure.masks import encode_region, rasterised, union_of, usable_polygons

IGNORED = ("_background_", "__ignore__")

#: Kinds of shape that give the position of an object, not the pixels it covers.
BOXES = ("rectangle", "oriented_rectangle", "rotation")

#: Kinds that are the outline of what they cover, corner by corner, or of a turned box.
OUTLINED = ("polygon", "quadrilateral", "oriented_rectangle", "rotation")

#: Kinds that enclose nothing.
WITHOUT_AREA = ("point", "points", "line", "linestrip")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One shape of an object."""

    where: str
    """File and position, as a report names it."""

    kind: str
    """Its ``shape_type``."""

    outline: Outline | None = None
    """What it encloses, in px; None for a mask."""

    mask: Rle | None = None
    """A mask of the whole image; None for an outline."""


def read(source: Path, tally: Tally, *, encoding: str | None = None) -> Iterator[SourceAnnotations]:
    """The annotations of every labelme file below a folder, or of one file.

    Args:
        source: Folder or file.
        tally: What is left out is counted here.
        encoding: Encoding of the files, where that is not certain.
    """
    for path in [source] if source.is_file() else sorted(files_below(source, "*.json")):
        content = read_json(path, encoding=encoding)
        if is_labelme(content):
            yield _annotations(content, path, tally)
        else:
            tally.note("JSON files that are not labelme's: skipped", str(path))


def is_labelme(content: Any) -> bool:
    """Whether a parsed JSON file is one of labelme's."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def _annotations(content: dict[str, Any], path: Path, tally: Tally) -> SourceAnnotations:
    names = [name for name in (content.get("imagePath"),) if isinstance(name, str) and name]
    size = stated_size(content.get("imageHeight"), content.get("imageWidth"))
    data = content.get("imageData")
    return SourceAnnotations(
        where=str(path),
        names=(*names, path.with_suffix(".jpg").name, path.with_suffix(".png").name),
        beside=path.parent,
        frame=size,
        size_px=size,
        objects=tuple(_objects(content["shapes"], path, size, tally)),
        own_stem=path.stem,
        embedded=(lambda: _embedded(data)) if data else None,
    )


def _embedded(data: Any) -> bytes:
    if not isinstance(data, str):
        raise ValueError("the image is not text")
    return bytes_in(data)


def _objects(
    shapes: list[Any], path: Path, size: tuple[int, int] | None, tally: Tally
) -> Iterator[SourceObject]:
    groups: dict[tuple[str, str], list[_Part]] = {}
    for position, shape in enumerate(shapes):
        where = f"{path}: shape {position}"
        read_shape = _label_and_points(shape)
        if read_shape is None:
            tally.drop("without a label and points", where)
            continue
        label, points = read_shape
        if label in IGNORED:
            tally.drop(f"labelled {label}", where)
            continue
        part = _part(shape, points, size, where)
        if isinstance(part, str):
            tally.drop(part, where)
            continue
        group = shape.get("group_id")
        # Each shape without a group is an object of its own.
        key = (label, f"alone {position}" if group is None else repr(group))
        groups.setdefault(key, []).append(part)
    for (label, _), parts in groups.items():
        if len(parts) > 1:
            joined = len(parts) - 1
            tally.note("shapes joined with others of their label and group", path.name, joined)
        yield _joined(label, parts, size)


def _label_and_points(shape: Any) -> tuple[str, list[Point]] | None:
    """The label and the points of a shape; None where it has not both."""
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        return None
    label = shape.get("label")
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        return None
    try:
        return str(label), [(number_of(x), number_of(y)) for x, y in shape["points"]]
    except (TypeError, ValueError):
        return None


def _part(
    shape: dict[str, Any], points: list[Point], size: tuple[int, int] | None, where: str
) -> _Part | str:
    """A shape as a part of an object, or why it is none."""
    kind = str(shape.get("shape_type") or "polygon")
    if kind == "mask":
        try:
            return _Part(where=where, kind=kind, mask=_mask(shape, points, size))
        except ValueError:
            return "whose mask cannot be read"
    outline = _outline(kind, points)
    if outline is not None:
        return _Part(where=where, kind=kind, outline=outline)
    if kind in ("rectangle", "circle", *OUTLINED):
        return f"drawn as a {kind} with too few points"
    return (
        f"drawn as a {kind[:40]}, which {'has no area' if kind in WITHOUT_AREA else 'is not read'}"
    )


def _outline(kind: str, points: list[Point]) -> Outline | None:
    """What a shape encloses; None for the kinds that enclose nothing."""
    if kind in OUTLINED:
        return flat(points)
    if kind == "rectangle" and len(points) >= 2:
        return box_outline(*extent_xyxy([flat(points)]))
    if kind == "circle" and len(points) == 2:  # its centre, and a point on its line
        radius = math.dist(*points)
        return ellipse_outline(*points[0], radius, radius)
    return None


def _joined(label: str, parts: Sequence[_Part], size: tuple[int, int] | None) -> SourceObject:
    """One object of all shapes of a group; as a mask where one of them is."""
    outlines = tuple(one.outline for one in parts if one.outline is not None)
    masks = [one.mask for one in parts if one.mask is not None]
    if masks and size is not None:
        if usable := usable_polygons(outlines):
            masks.append(whole_mask(rasterised(usable, *size)))
        whole = masks[0] if len(masks) == 1 else union_of(masks)
        return SourceObject(category=label, where=parts[0].where, mask=whole)
    is_box = all(one.kind in BOXES for one in parts)
    return SourceObject(category=label, where=parts[0].where, outlines=outlines, is_box=is_box)


def _mask(shape: dict[str, Any], points: list[Point], size: tuple[int, int] | None) -> Rle:
    """A shape of kind ``mask``: a PNG of its box, whose first corner is its position.

    What is outside of the image is cut off.

    Raises:
        ValueError: It cannot be read.
    """
    if size is None or not points or max(map(abs, points[0])) > 2 * max(size):
        raise ValueError("nothing says where it is")
    part = mask_in(shape.get("mask"), size)
    left, top = (round(number) for number in points[0])
    y, x = max(top, 0), max(left, 0)
    inside = part[y - top : max(size[0] - top, 0), x - left : max(size[1] - left, 0)]
    if not inside.size:
        inside, y, x = np.zeros((1, 1), dtype=bool), 0, 0
    return encode_region(inside, top_px=y, left_px=x, height_px=size[0], width_px=size[1])
