"""Masks in COCO's run-length encoding, and the polygons and limits of masks in files.

COCO counts runs down the columns of the whole image. Encoding the region alone and shifting its
runs to their place in the image gives the same bytes as encoding a full-size mask, without ever
making one (100 masks of a COCO image are 30 MB). Decoding the part that can be true is the
counterpart: objects drawn on an image of many megapixels are often few and small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError
from harness.core.rle_text import parse, spell, without_empty
from harness.core.run_lengths import Rle, decode, no_runs

#: Limits of an image with masks. Run lengths are 32 bits wide in pycocotools, and a mask of this
#: size takes 256 MiB when it is decoded. Pillow itself opens no image above 179 million px.
LARGEST_SIDE_PX = 100_000
LARGEST_IMAGE_PX = 2**28

#: Pixels of the least mask with a number of six characters: each has five bits, one is the sign.
SIX_CHARACTERS_PX = 2**24


def encode_region(
    region: npt.NDArray[np.bool_], *, top_px: int, left_px: int, height_px: int, width_px: int
) -> Rle:
    """The mask of an image that is true where a region is true, and false outside of it.

    Equal to pycocotools' encoding of the full mask.

    Args:
        region: (h, w) bool, wholly inside the image.
        top_px: Row of the region's first pixel.
        left_px: Column of the region's first pixel.
        height_px: Height of the image.
        width_px: Width of the image.
    """
    edges = _edges(region, top_px, left_px, height_px)
    return encode_edges(edges, height_px=height_px, width_px=width_px)


def encode_edges(edges: npt.NDArray[np.int64], *, height_px: int, width_px: int) -> Rle:
    """The mask that is false until the first edge and then changes at each.

    Args:
        edges: (n,) int64, ascending positions x · height + y; the end of the mask, height · width,
            may be one.
        height_px: Height of the image.
        width_px: Width of the image.
    """
    end = height_px * width_px
    inside = edges[:-1] if len(edges) and edges[-1] == end else edges
    runs = np.diff(inside, prepend=0, append=end).tolist()
    uncompressed = {"size": [height_px, width_px], "counts": runs}
    compressed = mask_library(height_px, width_px).frPyObjects(uncompressed, height_px, width_px)
    return Rle(height_px, width_px, compressed["counts"].decode("ascii"))


def rle_of(segmentation: Any, height_px: int, width_px: int) -> Rle:
    """A valid COCO segmentation (polygons, or runs of either kind) as one mask of the given size.

    Args:
        segmentation: Polygons in px that enclose nothing, or none at all, are an empty mask.
        height_px: Height of the image.
        width_px: Width of the image.

    Raises:
        IntegrityError: The size or the polygons are beyond the stated limits.
    """
    _require_drawable(height_px, width_px)
    if isinstance(segmentation, list):
        fault = drawing_fault(segmentation)
        if fault is not None:
            raise IntegrityError(f"an object {fault}")
        return _union(usable_polygons(segmentation), height_px, width_px)
    if isinstance(segmentation["counts"], str):
        return Rle(height_px, width_px, segmentation["counts"])
    return Rle(height_px, width_px, spell(without_empty(segmentation["counts"])))


def compared_mask(segmentation: Any, height_px: int, width_px: int) -> dict[str, Any]:
    """The same as a mask of pycocotools and faster-coco-eval, compressed; as in ``rle_of``."""
    return {
        "size": [height_px, width_px],
        "counts": rle_of(segmentation, height_px, width_px).counts,
    }


def rasterised(polygons: Sequence[Polygon], height_px: int, width_px: int) -> npt.NDArray[np.bool_]:
    """The pixels that the union of some polygons covers.

    Time and memory grow with the length of the outlines in px, wherever they are; the caller keeps
    them near the image.

    Args:
        polygons: x, y, x, y, … in px of the image; those that do not count are left out.
        height_px: Height of the image.
        width_px: Width of the image.

    Returns:
        (height, width) bool.
    """
    usable = usable_polygons(polygons)
    if not usable:
        return np.zeros((height_px, width_px), dtype=bool)
    return decode(_union(usable, height_px, width_px))


def rasterised_each(
    masks: Sequence[Sequence[Polygon]], height_px: int, width_px: int
) -> npt.NDArray[np.bool_]:
    """As `rasterised` of each of many masks of one size, in a fraction of the time.

    Args:
        masks: The polygons of each.
        height_px: Height of the image.
        width_px: Width of the image.

    Returns:
        (n, height, width) bool.
    """
    found = np.zeros((len(masks), height_px, width_px), dtype=bool)
    usable = [usable_polygons(polygons) for polygons in masks]
    rows = [number for number, polygons in enumerate(usable) if polygons]
    if not rows:
        return found
    library = mask_library(height_px, width_px)
    every = [polygon for polygons in usable for polygon in polygons]
    pieces = iter(library.frPyObjects(every, height_px, width_px))
    unions = (_merged(library, list(islice(pieces, len(usable[one])))) for one in rows)
    runs = parse([union["counts"].decode("ascii") for union in unions])
    first = np.repeat(runs.starts[:-1], np.diff(runs.starts))
    covered = (np.arange(len(runs.lengths)) - first) % 2 == 1  # every other run of a mask
    pixels = np.repeat(covered, runs.lengths)
    found[rows] = pixels.reshape(-1, width_px, height_px).transpose(0, 2, 1)
    return found


def _union(polygons: Sequence[Polygon], height_px: int, width_px: int) -> Rle:
    """What at least one of the polygons, all of three points or more, covers."""
    if not polygons:
        return Rle(height_px, width_px, spell([height_px * width_px]))
    library = mask_library(height_px, width_px)
    union = _merged(library, library.frPyObjects(polygons, height_px, width_px))
    return Rle(height_px, width_px, union["counts"].decode("ascii"))


def _merged(library: ModuleType, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = pieces[0] if len(pieces) == 1 else library.merge(pieces)
    return merged


def size_fault(height_px: int, width_px: int) -> str | None:
    """Why no mask of this size is made, as the end of a sentence; None when it is.

    Args:
        height_px: Height of the image.
        width_px: Width of the image.
    """
    if max(height_px, width_px) > LARGEST_SIDE_PX or height_px * width_px > LARGEST_IMAGE_PX:
        return (
            f"has {height_px:,} × {width_px:,} px; at most {LARGEST_SIDE_PX:,} px a side and "
            f"{LARGEST_IMAGE_PX:,} px altogether are read"
        )
    return None


def _require_drawable(height_px: int, width_px: int) -> None:
    fault = size_fault(height_px, width_px)
    if fault is not None:
        raise IntegrityError(f"an image {fault}")


def area_px(rle: Rle) -> int:
    """How many pixels of the mask are true."""
    return areas_px([rle])[0]


def areas_px(masks: Sequence[Rle]) -> list[int]:
    """Pixels of each mask."""
    return [int(area) for area in pixels_of([_compressed(one) for one in masks])]


def pixels_of(masks: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
    """(n,) pixels of each mask, compressed as COCO results have them."""
    from pycocotools import mask as coco_mask

    # It counts a call's masks in 8 bits. faster-coco-eval does not, and takes twice as long.
    calls = [masks[begin : begin + 255] for begin in range(0, len(masks), 255)]
    areas = [np.asarray(coco_mask.area(list(one)), dtype=np.float64) for one in calls]
    return np.concatenate([np.zeros(0), *areas])


def union_px(masks: Sequence[Rle]) -> int:
    """Pixels that at least one of the masks, all of one size, covers; 0 for none."""
    return area_px(union_of(masks)) if masks else 0


def union_of(masks: Sequence[Rle]) -> Rle:
    """The pixels that at least one of the masks covers; all of one size, one at least."""
    height_px, width_px = masks[0].height_px, masks[0].width_px
    union = mask_library(height_px, width_px).merge([_compressed(one) for one in masks])
    return Rle(height_px, width_px, union["counts"].decode("ascii"))


def mask_library(height_px: int, width_px: int) -> ModuleType:
    """The library that draws and joins masks of a size; both give the same text.

    pycocotools reserves six characters for each run and writes a zero behind the text
    (``maskApi.c``, rleToString): where each number takes six, the zero is beyond its memory.
    faster-coco-eval's strings grow.

    Args:
        height_px: Height of the image.
        width_px: Width of the image.
    """
    if height_px * width_px < SIX_CHARACTERS_PX:
        from pycocotools import mask as library
    else:
        from faster_coco_eval.core import mask as library
    chosen: ModuleType = library
    return chosen


def box_xywh_px(rle: Rle) -> list[float]:
    """The smallest box around the mask's pixels; zeros for an empty one."""
    from pycocotools import mask as coco_mask

    box: list[float] = coco_mask.toBbox(_compressed(rle)).tolist()
    return box


def _compressed(rle: Rle) -> dict[str, Any]:
    return {"size": [rle.height_px, rle.width_px], "counts": rle.counts.encode("ascii")}


def _edges(
    region: npt.NDArray[np.bool_], top: int, left: int, height: int
) -> npt.NDArray[np.int64]:
    """Positions x · height + y of the image where the mask changes, ascending."""
    rows, columns = region.shape
    # (columns, rows + 1): column by column, each closed by a false pixel that ends its last run.
    padded = np.zeros((columns, rows + 1), dtype=np.int8)
    padded[:, :-1] = region.T
    steps = np.diff(padded.ravel(), prepend=np.int8(0))
    column, row = np.divmod(np.flatnonzero(steps), rows + 1)
    edges = ((column + left) * height + row + top).astype(np.int64)
    if rows == height:
        # Only here can a run go on from the bottom of one column to the top of the next: its end
        # there and its new start are one position, given twice.
        again = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, np.concatenate((again, again + 1)))
    return edges


#: x, y, x, y, … in px, as a list or an array.
Polygon = TypeVar("Polygon", Sequence[float], npt.NDArray[np.float64])

#: Three points; fewer enclose no pixel.
LEAST_NUMBERS = 6

#: pycocotools draws polygons point by point, wherever these are: at 1e8 px it crashes.
FARTHEST_PX = 1e5

#: It keeps five points of 20 bytes for every px along an outline: 100 MB, a tenth of a second.
LONGEST_OUTLINE_PX = 1e6

#: Parts of one object. Each is joined with all before it; COCO's objects have at most some dozens.
MOST_POLYGONS = 10_000


def is_usable(polygon: Sequence[Any] | npt.NDArray[np.float64]) -> bool:
    """Whether a polygon counts: pairs of coordinates, three or more.

    Detectron2 drops the others when it loads a data set (``data/datasets/coco.py``). pycocotools
    would read two numbers as the corner of a box, and ignore the last of an odd number.

    Args:
        polygon: x, y, x, y, … in px.
    """
    return len(polygon) >= LEAST_NUMBERS and len(polygon) % 2 == 0


def usable_polygons(polygons: Sequence[Polygon]) -> list[Polygon]:
    """The polygons that count, in their order; none of them changed."""
    return [polygon for polygon in polygons if is_usable(polygon)]


def drawing_fault(polygons: Sequence[Sequence[float]]) -> str | None:
    """Why the polygons of one object are not drawn, as the end of a sentence; None when they are.

    Args:
        polygons: Polygons of finite numbers, in px of the image.
    """
    if len(polygons) > MOST_POLYGONS:
        return f"has {len(polygons):,} polygons; at most {MOST_POLYGONS:,} are drawn"
    farthest = max((max(max(one), -min(one)) for one in polygons if one), default=0)
    if farthest > FARTHEST_PX:
        return f"has a polygon that leaves its image by more than {FARTHEST_PX:,.0f} px"
    # No edge is longer than this; most objects need no closer look.
    if 2 * farthest * sum(map(len, polygons)) <= LONGEST_OUTLINE_PX:
        return None
    length = sum(map(_length_px, polygons))
    if length > LONGEST_OUTLINE_PX:
        return f"has outlines of {length:,.0f} px; at most {LONGEST_OUTLINE_PX:,.0f} px are drawn"
    return None


def _length_px(polygon: Sequence[float]) -> float:
    """The length of a closed outline, every edge counted by its longer side."""
    points = list(zip(polygon[::2], polygon[1::2], strict=False))
    return sum(
        max(abs(x2 - x1), abs(y2 - y1)) for (x1, y1), (x2, y2) in pairwise([*points, *points[:1]])
    )


class Region(NamedTuple):
    """The part of a mask that can be true."""

    pixels: npt.NDArray[np.bool_]
    """(h, w) bool; 0 × 0 for an empty mask."""

    top_px: int
    """Row of its first pixel in the image."""

    left_px: int
    """Column of its first pixel in the image."""


def decode_region(rle: Rle) -> Region:
    """The tight region of a mask, without ever making the whole one; 0 × 0 where nothing is true.

    The work grows with the region, not with the image.

    Raises:
        ValueError: The runs do not cover the mask.
    """
    height = rle.height_px
    edges = _edge_positions(rle)
    starts, ends = edges[0::2], edges[1::2]
    full = ends > starts
    starts, ends = starts[full], ends[full]
    if not len(starts):
        return Region(np.zeros((0, 0), dtype=bool), 0, 0)
    left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
    first, last = starts % height, (ends - 1) % height
    top, bottom = int(first.min()), int(last.max()) + 1
    if (ends - starts > height - first).any():  # continues in the next column
        top, bottom = 0, height
    rows, columns = bottom - top, right - left
    begin = (starts // height - left) * rows + first - top
    edges = np.stack((begin, begin + ends - starts), axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=rows * columns)
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return Region(flat.reshape(columns, rows).T, top, left)


def _edge_positions(rle: Rle) -> npt.NDArray[np.int64]:
    """Positions x · height + y where runs begin and end, an even number of them, ascending."""
    runs = parse([rle.counts])
    edges: npt.NDArray[np.int64] = np.cumsum(runs.lengths)
    whole = runs.readable[0] and runs.lengths.min() >= 0
    if not whole or edges[-1] != rle.height_px * rle.width_px:
        raise ValueError(no_runs(rle))
    return edges if len(edges) % 2 == 0 else edges[:-1]
