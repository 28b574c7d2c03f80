"""Label Studio's regions: what one person drew on one image, in percent of it.

Its run lengths are a whole RGBA image as a stream of bits:

    32 bits  how many values there are: height · width · 4
     5 bits  bits a value has, less one
    4 × 4    bits a run's length has, less one, for each of four kinds of run
    then runs: 1 bit whether the run repeats one value, 2 bits its kind, its length less one, and
    the one value, or as many values as the run is long

The layout is rle-pack's (thi-ng/umbrella, packages/rle-pack/src/index.ts), which Label Studio uses.
A pixel is painted where its fourth value, alpha, is not zero, as in Label Studio's own export
(HumanSignal/label-studio-converter, brush.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.run_lengths import Rle
from harness.data.convert.alignment import whole_mask
from harness.data.convert.formats.mask_images import mask_in
from harness.data.convert.geometry import box_outline, ellipse_outline, flat, scaled, turned
from harness.data.convert.source_annotations import Outline, SourceObject, Tally, stated_size
from harness.data.fields import flag_of, labels_of, number_of

#: Kinds of region with an area, by what the type of a result begins with.
KINDS = ("polygon", "rectangle", "ellipse", "brush", "bitmask", "vector")

#: What the value of a kind has, for results that do not name it: their labels are a control of
#: their own. The first that is there counts.
SHAPES = (
    ("sequence", "videorectangle"),
    ("rle", "brush"),
    ("imageDataURL", "bitmask"),
    ("points", "polygon"),
    ("vertices", "vector"),
    ("radiusX", "ellipse"),
    ("height", "rectangle"),
    ("width", "keypoint"),
)

#: Kinds that enclose nothing.
WITHOUT_AREA = ("keypoint",)

#: Results about a task or a region that draw nothing.
WITHOUT_REGION = (
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
    """One region."""

    where: str
    """File, task, annotation and region."""

    kind: str
    """One of KINDS, else the type of its result."""

    value: Mapping[str, Any]
    """The values of its results together."""

    labels: Sequence[str]
    """Mostly one."""

    size_px: tuple[int, int] | None
    """(height, width) the program saw."""

    angle: float
    """Degrees by which the view of the image was turned."""

    item: int | None
    """Which image of the task; None for the only one."""


def regions_of(results: Sequence[Any], where: str) -> list[Region]:
    """The regions of a ``result`` list.

    Where labels are a control of their own, a region is there once for each control, under one id.

    Args:
        results: Results of one annotation.
        where: File, task and annotation, for reports.
    """
    by_id: dict[Any, list[dict[str, Any]]] = {}
    for position, result in enumerate(results):
        if isinstance(result, dict) and result.get("type") not in WITHOUT_REGION:
            by_id.setdefault(result.get("id") or (None, position), []).append(result)
    return [
        _region(results, f"{where}, region {key[1] if isinstance(key, tuple) else key}")
        for key, results in by_id.items()
    ]


def shape_of(value: Mapping[str, Any]) -> str:
    """The kind of a region whose type does not say it; ``labels`` where nothing is drawn."""
    return next((kind for key, kind in SHAPES if key in value), "labels")


def _region(results: list[dict[str, Any]], where: str) -> Region:
    value: dict[str, Any] = {}
    for one in results:
        value |= one.get("value") or {}
    types = [str(one.get("type", "")) for one in results]
    kinds = [kind for kind in KINDS for one in types if one.startswith(kind)]
    labels = [
        label
        for key, found in value.items()
        if key.endswith("labels")
        for label in labels_of(found)
    ]
    return Region(
        where=where,
        kind=kinds[0] if kinds else types[0],
        value=value,
        labels=labels,
        size_px=stated_size(results[0].get("original_height"), results[0].get("original_width")),
        angle=number_of(results[0].get("image_rotation") or 0),
        item=results[0].get("item_index"),
    )


def region_object(region: Region, tally: Tally) -> SourceObject | None:
    """The region as an object; None, and counted, for what is none."""
    if region.kind not in KINDS:
        reason = "has no area" if region.kind.startswith(WITHOUT_AREA) else "is not read"
        tally.drop(f"drawn as {region.kind[:40] or 'nothing'}, which {reason}", region.where)
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
        tally.note("objects with several labels: the first is taken", region.where)
    try:
        return _object(region)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        tally.drop(_unread(region.kind), f"{region.where}: {error}")
        return None


def _unread(kind: str) -> str:
    return (
        f"drawn as {kind}, that cannot be read"
        if kind in ("bitmask", "vector")
        else "that cannot be read"
    )


def _object(region: Region) -> SourceObject:
    label = region.labels[0]
    if region.kind in ("brush", "bitmask"):
        return SourceObject(category=label, where=region.where, mask=_painted(region))
    return SourceObject(
        category=label,
        where=region.where,
        outlines=(OUTLINES[region.kind](region),),
        is_box=region.kind == "rectangle",
    )


def _painted(region: Region) -> Rle:
    if region.size_px is None:
        raise ValueError("nothing says how large its image is")
    if region.kind == "brush":
        return whole_mask(decoded(region.value["rle"], *region.size_px))
    return whole_mask(mask_in(region.value.get("imageDataURL"), region.size_px))


def _polygon(region: Region) -> Outline:
    return flat([(number_of(x), number_of(y)) for x, y in region.value["points"]])


def _rectangle(region: Region) -> Outline:
    """Turned clockwise about its top left corner."""
    x, y = number_of(region.value["x"]), number_of(region.value["y"])
    box = box_outline(
        x, y, x + number_of(region.value["width"]), y + number_of(region.value["height"])
    )
    return _turned(box, region, (x, y))


def _ellipse(region: Region) -> Outline:
    """Turned clockwise about its centre."""
    x, y = number_of(region.value["x"]), number_of(region.value["y"])
    radii = number_of(region.value["radiusX"]), number_of(region.value["radiusY"])
    return _turned(ellipse_outline(x, y, *radii), region, (x, y))


def _vector(region: Region) -> Outline:
    """A closed line of corners; curves and open lines enclose nothing that is known."""
    vertices = region.value["vertices"]
    if not flag_of(region.value.get("closed")):
        raise ValueError("its line is not closed")
    if any(flag_of(one.get("isBezier")) for one in vertices):
        raise ValueError("its line has curves")
    return flat([(number_of(one["x"]), number_of(one["y"])) for one in vertices])


OUTLINES = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "vector": _vector,
}


def _turned(outline: Outline, region: Region, about: tuple[float, float]) -> Outline:
    """Percent turned as the pixels they stand for are: one percent is as many to the right as down
    only in a square image.
    """
    degrees = number_of(region.value.get("rotation") or 0)
    if not degrees:
        return outline
    if region.size_px is None:
        raise ValueError("it is turned, and nothing says how large its image is")
    height, width = region.size_px
    pixels = scaled(outline, width / 100, height / 100)
    centre = (about[0] * width / 100, about[1] * height / 100)
    return scaled(turned(pixels, degrees, centre), 100 / width, 100 / height)


CHANNELS = 4


def decoded(rle: Sequence[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The pixels that were painted.

    Args:
        rle: Bytes of the stream, 0…255.
        height: Height of the image.
        width: Width of the image.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: They are no mask of that size.
    """
    try:
        stream = np.array(rle, dtype=np.uint8)
    except (OverflowError, TypeError) as error:
        raise ValueError("the run lengths are not bytes") from error
    bits = (np.unpackbits(stream) + ord("0")).tobytes().decode("ascii")
    count = int(bits[:32] or "0", 2)
    if count != height * width * CHANNELS:
        raise ValueError(f"{count:,} values for an image of {width} × {height} px")
    values = np.zeros(count, dtype=np.uint8)
    word, lengths, position = _header(bits)
    done = 0
    while done < len(values):
        repeats = bits[position : position + 1] == "1"
        size = lengths[int(bits[position + 1 : position + 3] or "0", 2)]
        position += 3
        run = 1 + int(bits[position : position + size] or "0", 2)
        position += size
        end = position + (word if repeats else word * run)
        if end > len(bits):
            raise ValueError("the run lengths end early")
        words = bits[position:end]
        values[done : done + run] = (
            int(words, 2) & 0xFF if repeats else list(_words(words, word))[: len(values) - done]
        )
        done, position = done + run, end
    painted: npt.NDArray[np.bool_] = values.reshape(height, width, CHANNELS)[..., 3] > 0
    return painted


def _header(bits: str) -> tuple[int, list[int], int]:
    """Bits a value, bits a length of each kind of run, and where the runs begin."""
    if len(bits) < 53:
        raise ValueError("the run lengths end early")
    word = int(bits[32:37], 2) + 1
    return word, [int(bits[start : start + 4], 2) + 1 for start in range(37, 53, 4)], 53


def _words(bits: str, size: int) -> Iterable[int]:
    return (int(bits[start : start + size], 2) & 0xFF for start in range(0, len(bits), size))
