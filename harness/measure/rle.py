"""Masks as COCO writes them: run-length encoding, and what to know before trusting a file's.

COCO counts runs down the columns of the whole image. Encoding the region alone and shifting its
runs to where they lie in the image gives the same bytes as encoding a full-size mask, without
ever making one (100 masks of a COCO image are 30 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.detections import Rle
from harness.measure.polygons import Polygon, usable_polygons


def encode_region(
    region: npt.NDArray[np.bool_], *, top_px: int, left_px: int, height_px: int, width_px: int
) -> Rle:
    """The mask of a height × width image that is ``region`` at (top, left) and false elsewhere.

    region: (h, w) bool, wholly inside the image. Equal to pycocotools' encoding of the full mask.
    """
    edges = _edges(region, top_px, left_px, height_px)
    return encode_edges(edges, height_px=height_px, width_px=width_px)


def encode_edges(edges: npt.NDArray[np.int64], *, height_px: int, width_px: int) -> Rle:
    """The mask that is false until the first of ``edges`` and then changes at each.

    edges: ascending positions x · height + y; the end of the mask, height · width, may be one.
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

    Polygons that enclose nothing, or none at all, are an empty mask.
    """
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, list):
        polygons = usable_polygons(segmentation)
        if polygons:
            pieces = coco_mask.frPyObjects(polygons, height_px, width_px)
            counts = coco_mask.merge(pieces)["counts"].decode("ascii")
            return Rle(height_px, width_px, counts)
        segmentation = {"size": [height_px, width_px], "counts": [height_px * width_px]}
    if isinstance(segmentation["counts"], str):
        return Rle(height_px, width_px, segmentation["counts"])
    compressed = coco_mask.frPyObjects(segmentation, height_px, width_px)
    return Rle(height_px, width_px, compressed["counts"].decode("ascii"))


def rasterised(polygons: Sequence[Polygon], height_px: int, width_px: int) -> npt.NDArray[np.bool_]:
    """(height, width) bool: what the union of ``polygons`` (x, y, x, y, …) covers."""
    from pycocotools import mask as coco_mask

    usable = usable_polygons(polygons)
    if not usable:
        return np.zeros((height_px, width_px), dtype=bool)
    pieces = coco_mask.frPyObjects(usable, height_px, width_px)
    counts = coco_mask.merge(pieces)["counts"].decode("ascii")
    return decode(Rle(height_px, width_px, counts))


def decode(rle: Rle) -> npt.NDArray[np.bool_]:
    """(height, width) bool; ValueError when the runs do not cover the mask."""
    runs = run_lengths(rle.counts)
    if runs is None or sum(runs) != rle.height_px * rle.width_px:
        raise ValueError(f"no runs of a mask of {rle.height_px} × {rle.width_px} px: {rle.counts}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask: npt.NDArray[np.bool_] = flat.reshape(rle.width_px, rle.height_px).T
    return mask


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


def run_lengths(counts: str | Sequence[Any]) -> Sequence[int] | None:
    """Lengths of alternating runs of false and true, compressed or not; None when there are none.

    Their sum must be height × width. The evaluators take that for granted: given shorter runs, they
    never come back.
    """
    runs: Sequence[Any] | None = counts
    if isinstance(counts, str):
        runs = _decompressed(counts)
    if runs is None or not all(type(run) is int and run >= 0 for run in runs):
        return None
    return runs


def _decompressed(text: str) -> list[int] | None:
    """Run lengths from COCO's text: five bits a character, from the fourth on differences.

    The sixth bit says that the number goes on, the fifth of its last character is its sign
    (cocoapi, common/maskApi.c, rleFrString).
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number = shift = 0
    return None if shift else runs


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
        # there and its new start are one position, told twice.
        again = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, np.concatenate((again, again + 1)))
    return edges
