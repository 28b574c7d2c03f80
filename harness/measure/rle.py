"""Masks in COCO's run-length encoding, and the limits checked before a file's masks are used.

COCO counts runs down the columns of the whole image. Encoding the region alone and shifting its
runs to their place in the image gives the same bytes as encoding a full-size mask, without ever
making one (100 masks of a COCO image are 30 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError
from harness.core.rle_text import spell, without_empty
from harness.core.run_lengths import Rle
from harness.core.run_lengths import decode as decode  # also read from here
from harness.core.run_lengths import no_runs as no_runs
from harness.core.run_lengths import run_lengths as run_lengths
from harness.measure.polygons import Polygon, drawing_fault, usable_polygons

#: Limits of an image with masks. Run lengths are 32 bits wide in pycocotools, and a mask of this
#: size takes 256 MiB when it is decoded. Pillow itself opens no image above 179 million px.
LARGEST_SIDE_PX = 100_000
LARGEST_IMAGE_PX = 2**28


def encode_region(
    region: npt.NDArray[np.bool_], *, top_px: int, left_px: int, height_px: int, width_px: int
) -> Rle:
    """The mask of an image that is true where a region is true, and false outside of it.

    Equal to pycocotools' encoding of the full mask.

    Args:
        region: (h, w) bool, wholly inside the image.
        top_px: Row of the region's first pixel.
        left_px: Column of the region's first pixel.
        height_px: Of the image.
        width_px: Of the image.
    """
    edges = _edges(region, top_px, left_px, height_px)
    return encode_edges(edges, height_px=height_px, width_px=width_px)


def encode_edges(edges: npt.NDArray[np.int64], *, height_px: int, width_px: int) -> Rle:
    """The mask that is false until the first edge and then changes at each.

    Args:
        edges: (n,) int64, ascending positions x · height + y; the end of the mask, height · width,
            may be one.
        height_px: Of the image.
        width_px: Of the image.
    """
    from pycocotools import mask as coco_mask

    end = height_px * width_px
    inside = edges[:-1] if len(edges) and edges[-1] == end else edges
    runs = np.diff(inside, prepend=0, append=end).tolist()
    uncompressed = {"size": [height_px, width_px], "counts": runs}
    compressed = coco_mask.frPyObjects(uncompressed, height_px, width_px)
    return Rle(height_px, width_px, compressed["counts"].decode("ascii"))


def rle_of(segmentation: Any, height_px: int, width_px: int) -> Rle:
    """A valid COCO segmentation (polygons, or runs of either kind) as one mask of the given size.

    Args:
        segmentation: Polygons in px that enclose nothing, or none at all, are an empty mask.
        height_px: Of the image.
        width_px: Of the image.

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
    """The same as a mask of pycocotools and faster-coco-eval, compressed; as of ``rle_of``."""
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
        height_px: Of the image.
        width_px: Of the image.

    Returns:
        (height, width) bool.
    """
    usable = usable_polygons(polygons)
    if not usable:
        return np.zeros((height_px, width_px), dtype=bool)
    return decode(_union(usable, height_px, width_px))


def _union(polygons: Sequence[Polygon], height_px: int, width_px: int) -> Rle:
    """What at least one of the polygons, all of three points or more, covers."""
    from pycocotools import mask as coco_mask

    if not polygons:
        return Rle(height_px, width_px, spell([height_px * width_px]))
    pieces = coco_mask.frPyObjects(polygons, height_px, width_px)
    union = pieces[0] if len(pieces) == 1 else coco_mask.merge(pieces)
    return Rle(height_px, width_px, union["counts"].decode("ascii"))


def size_fault(height_px: int, width_px: int) -> str | None:
    """Why no mask of this size is made, as the end of a sentence; None when it is.

    Args:
        height_px: Of the image.
        width_px: Of the image.
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
    from pycocotools import mask as coco_mask

    areas = coco_mask.area([_compressed(one) for one in masks]) if masks else ()
    return [int(area) for area in areas]


def union_px(masks: Sequence[Rle]) -> int:
    """Pixels that at least one of the masks, all of one size, covers; 0 for none."""
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(coco_mask.merge([_compressed(one) for one in masks]))) if masks else 0


def union_of(masks: Sequence[Rle]) -> Rle:
    """The pixels that at least one of the masks covers; all of one size, one at least."""
    from pycocotools import mask as coco_mask

    counts = coco_mask.merge([_compressed(one) for one in masks])["counts"].decode("ascii")
    return Rle(masks[0].height_px, masks[0].width_px, counts)


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
