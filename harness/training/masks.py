"""Ground-truth masks that follow their image's resize and flip, and are cropped for training.

Polygons are drawn directly into the grid of each region, run lengths are pooled with RoIAlign, as
Detectron2 does with PolygonMasks and BitMasks (``structures/masks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor

from harness.core.run_lengths import decode
from harness.data.convert.geometry import clipped
from harness.data.objects import Segmentation
from harness.measure.masks import rasterised, rasterised_each
from harness.nn.operators import roi_align

#: A polygon is drawn to at most this many sides of its region beyond the region: pycocotools keeps
#: five points for every pixel of an outline, wherever that is.
FARTHEST_DRAWN_SIDES = 100

#: A region narrower than this, px, is treated as if it were this wide.
THINNEST_PX = 0.1

Bitmap = npt.NDArray[np.bool_]
Polygons = list[npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """The masks of one image, in px of the resized image."""

    masks: tuple[Polygons | Bitmap, ...]
    """One an object: flat polygons x, y, x, y, …, or a (h, w) bitmap."""

    def crop(self, boxes: Tensor, truth: Tensor, side: int) -> Tensor:
        """Crop masks to boxes.

        Args:
            boxes: (n, 4) x1, y1, x2, y2 in px of the resized image, on the CPU.
            truth: (n,) index of the object of each box, on the CPU.
            side: Side of the grid.

        Returns:
            (n, side, side) bool: the mask of object ``truth[i]`` inside ``boxes[i]``, on the CPU.
        """
        cut = np.zeros((len(boxes), side, side), dtype=bool)
        outlines: dict[int, Polygons] = {}
        for index in np.unique(truth.numpy()).tolist():
            rows, mask = np.flatnonzero(truth.numpy() == index), self.masks[index]
            if isinstance(mask, list):
                outlines |= {row: _within(mask, boxes.numpy()[row], side) for row in rows.tolist()}
            else:
                cut[rows] = _pooled(mask, boxes[rows], side)
        cut[list(outlines)] = rasterised_each(list(outlines.values()), side, side)
        return torch.from_numpy(cut)

    def whole(self, height_px: int, width_px: int) -> Tensor:
        """Return (g, height, width) uint8: each mask as a bitmap of the resized image."""
        filled = [_filled(one, height_px, width_px) for one in self.masks]
        return torch.from_numpy(np.stack(filled).astype(np.uint8))


def _filled(mask: Polygons | Bitmap, height_px: int, width_px: int) -> Bitmap:
    """Return one mask as a bitmap of its whole image."""
    if not isinstance(mask, list):
        return mask
    near = [_within_reach(polygon, max(height_px, width_px)) for polygon in mask]
    return rasterised(near, height_px, width_px)


def transformed(
    segmentations: Sequence[Segmentation],
    size: tuple[int, int],
    scale: tuple[float, float],
    flip: bool,
    flip_down: bool = False,
) -> ObjectMasks:
    """Move masks from the frame of the original image to that of the resized one.

    Args:
        segmentations: One an object, in px of the original image.
        size: (height, width) of the resized image, px.
        scale: Factors of x and y.
        flip: Whether left and right are swapped.
        flip_down: Whether top and bottom are swapped.
    """
    return ObjectMasks(tuple(_moved(one, size, scale, flip, flip_down) for one in segmentations))


def _moved(
    segmentation: Segmentation,
    size: tuple[int, int],
    scale: tuple[float, float],
    flip: bool,
    flip_down: bool,
) -> Polygons | Bitmap:
    height_px, width_px = size
    if isinstance(segmentation, list):
        polygons = []
        for polygon in segmentation:
            points = np.array(polygon, dtype=np.float64)
            points[0::2] *= scale[0]
            points[1::2] *= scale[1]
            if flip:
                points[0::2] = width_px - points[0::2]
            if flip_down:
                points[1::2] = height_px - points[1::2]
            polygons.append(points)
        return polygons
    whole = PillowImage.fromarray(decode(segmentation))
    nearest = PillowImage.Resampling.NEAREST
    bitmap = np.array(whole.resize((width_px, height_px), nearest), dtype=bool)
    bitmap = bitmap[:, ::-1] if flip else bitmap
    return bitmap[::-1] if flip_down else bitmap


def _pooled(bitmap: Bitmap, boxes: Tensor, side: int) -> Bitmap:
    """Return the (n, side, side) crops of a bitmap to boxes (n, 4)."""
    pixels = torch.from_numpy(np.ascontiguousarray(bitmap)).float()[None, None]
    pooled = roi_align(pixels, F.pad(boxes, (1, 0)), side)  # of image 0
    cut: Bitmap = (pooled[:, 0] >= 0.5).numpy()
    return cut


def _within(polygons: Polygons, box: npt.NDArray[np.float32], side: int) -> Polygons:
    """Move polygons into the grid of a region."""
    corner, extent = box[:2], box[2:] - box[:2]
    scale = side / np.maximum(extent, np.float32(THINNEST_PX))  # of x and of y
    return [
        _within_reach(((polygon.reshape(-1, 2) - corner) * scale).ravel(), side)
        for polygon in polygons
    ]


def _within_reach(points: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """Clip a polygon that is far larger than its region, so that it can be drawn.

    What it covers of the region is not changed by this. Where boxes fit their polygons, a region is
    about as large as its object, so nothing is clipped in COCO.
    """
    if np.abs(points).max(initial=0.0) <= FARTHEST_DRAWN_SIDES * side:
        return points
    margin = float(side)
    shifted = clipped((points + margin).tolist(), side + 2 * margin, side + 2 * margin)
    return np.array(shifted, dtype=np.float64) - margin
