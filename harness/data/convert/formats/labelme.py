"""labelme: a JSON file beside each photograph.

Shapes of one label and one group_id are one object, as in labelme's own export. A rectangle is a
box. What has no area (points, lines) is no object. ``_background_`` and ``__ignore__`` are
labelme's names for what is to be left out.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.convert.geometry import Point, box_outline, ellipse_outline, extent_xyxy, flat
from harness.data.convert.source_annotations import Drawn, DrawnObject, Outline, Tally, told_size
from harness.data.image_files import open_image
from harness.files.json import read as read_json

IGNORED = ("_background_", "__ignore__")
BOXES = ("rectangle", "oriented_rectangle")


def read(source: Path, tally: Tally) -> Iterator[Drawn]:
    """The drawing of every labelme file below a folder, or of the one file ``source``."""
    for path in [source] if source.is_file() else sorted(source.rglob("*.json")):
        content = read_json(path)
        if is_labelme(content):
            yield _drawn(content, path, tally)
        else:
            tally.note("JSON file(s) that are not labelme's: passed over", str(path))


def is_labelme(content: Any) -> bool:
    """Whether a parsed JSON file is one of labelme's."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def _drawn(content: dict[str, Any], path: Path, tally: Tally) -> Drawn:
    names = [name for name in (content.get("imagePath"),) if isinstance(name, str) and name]
    size = told_size(content.get("imageHeight"), content.get("imageWidth"))
    data = content.get("imageData")
    return Drawn(
        where=str(path),
        names=(*names, path.with_suffix(".jpg").name, path.with_suffix(".png").name),
        beside=path.parent,
        frame=size,
        size_px=size,
        objects=tuple(_objects(content["shapes"], path, size, tally)),
        embedded=(lambda: base64.b64decode(data, validate=True)) if data else None,
    )


def _objects(
    shapes: list[Any], path: Path, size: tuple[int, int] | None, tally: Tally
) -> Iterator[DrawnObject]:
    groups: dict[tuple[str, str], list[tuple[str, str, Outline]]] = {}
    for position, shape in enumerate(shapes):
        where = f"{path}: shape {position}"
        try:
            label, kind = str(shape["label"]), shape.get("shape_type") or "polygon"
            points = [(float(x), float(y)) for x, y in shape["points"]]
        except (TypeError, KeyError, ValueError, AttributeError):
            tally.drop("without a label and points", where)
            continue
        if label in IGNORED:
            tally.drop(f"labelled {label}", where)
        elif kind == "mask":
            mask = _mask(shape, points, size)
            if mask is None:
                tally.drop("whose mask cannot be read", where)
            else:
                yield DrawnObject(category=label, where=where, mask=mask)
        elif (outline := _outline(kind, points)) is None:
            tally.drop(f"drawn as a {kind}, which has no area", where)
        else:
            group = shape.get("group_id")
            # Each shape without a group is an object of its own.
            key = (label, f"alone {position}" if group is None else repr(group))
            groups.setdefault(key, []).append((where, kind, outline))
    for (label, _), parts in groups.items():
        yield DrawnObject(
            category=label,
            where=parts[0][0],
            outlines=tuple(outline for _, _, outline in parts),
            is_box=len(parts) == 1 and parts[0][1] in BOXES,
        )


def _outline(kind: str, points: list[Point]) -> Outline | None:
    """What a shape encloses; None for the kinds that enclose nothing."""
    if kind in ("polygon", "oriented_rectangle"):
        return flat(points)
    if kind == "rectangle" and len(points) >= 2:
        return box_outline(*extent_xyxy([flat(points)]))
    if kind == "circle" and len(points) == 2:  # its centre, and a point on its line
        radius = math.dist(*points)
        return ellipse_outline(*points[0], radius, radius)
    return None


def _mask(
    shape: dict[str, Any], points: list[Point], size: tuple[int, int] | None
) -> npt.NDArray[np.bool_] | None:
    """(height, width) bool of a shape of kind ``mask``: a PNG of its box, whose first corner says
    where it lies; what sticks out of the image is cut off. None where it cannot be read.
    """
    if size is None:
        return None
    try:
        content = base64.b64decode(shape["mask"], validate=True)
        with open_image(io.BytesIO(content)) as picture:
            part = np.asarray(picture.convert("L")) > 0
        left, top = (round(number) for number in points[0])
    except (KeyError, IndexError, ValueError, TypeError, OSError):
        return None
    mask = np.zeros(size, dtype=bool)
    y, x = max(top, 0), max(left, 0)
    inside = part[y - top : max(size[0] - top, 0), x - left : max(size[1] - left, 0)]
    mask[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return mask
