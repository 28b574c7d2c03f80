"""Soft masks pasted into the frame of the original image.

The rule is Detectron2's (``layers/mask_ops.py``): bilinear sampling of the soft mask at pixel
centres, zero outside it, and a threshold. As there, two ways lead to one result. A CPU computes
only the pixels inside each box. A GPU computes whole images, many masks at once, which spares it
hundreds of small steps; only where the masks' outlines run is copied to the host.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Pixels pasted at once: their sampling grid is 8 bytes each.
PIXELS_AT_ONCE = 1 << 26


class PastedMask(NamedTuple):
    """The part of a binary mask that can be true."""

    region: Tensor
    """(h, w) bool."""

    top_px: int
    """Row of the image that its first row is."""

    left_px: int
    """Column of the image that its first column is."""


def paste_regions(
    soft: Tensor, boxes: Tensor, height: int, width: int, threshold: float
) -> list[PastedMask]:
    """Return binary masks of n detections, computed one after the other.

    Args:
        soft: (n, M, M) float32 probabilities in the frame of each box.
        boxes: (n, 4) float32, pixels of the original image, non-empty.
        height: Height of the original image, px.
        width: Width of the original image, px.
        threshold: Probability from which a pixel belongs to the mask.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)  # (n,) each
    lefts = (x1.floor() - 1).clamp(min=0).to(torch.int64).tolist()
    tops = (y1.floor() - 1).clamp(min=0).to(torch.int64).tolist()
    rights = (x2.ceil() + 1).clamp(max=width).to(torch.int64).tolist()
    bottoms = (y2.ceil() + 1).clamp(max=height).to(torch.int64).tolist()
    pasted = []
    for mask, box, left, top, right, bottom in zip(
        soft, boxes, lefts, tops, rights, bottoms, strict=True
    ):
        ys = torch.arange(top, bottom, dtype=torch.float32, device=soft.device) + 0.5
        xs = torch.arange(left, right, dtype=torch.float32, device=soft.device) + 0.5
        values = sampled(mask[None], box[None], ys, xs)[0]  # (h, w)
        pasted.append(PastedMask(values >= threshold, top, left))
    return pasted


def paste_outlines(
    soft: Tensor, boxes: Tensor, height: int, width: int, threshold: float
) -> list[Tensor]:
    """Return where, down the columns of the image, each mask changes from one pixel to the next.

    Args:
        soft: (n, M, M) float32 probabilities in the frame of each box.
        boxes: (n, 4) float32, pixels of the original image, non-empty.
        height: Height of the original image, px.
        width: Width of the original image, px.
        threshold: Probability from which a pixel belongs to the mask.

    Returns:
        n ascending int64 tensors on the CPU: x · height + y of every pixel that differs from the
        one before it; before the first pixel a mask is false.
    """
    ys = torch.arange(height, dtype=torch.float32, device=soft.device) + 0.5
    xs = torch.arange(width, dtype=torch.float32, device=soft.device) + 0.5
    count = max(1, PIXELS_AT_ONCE // (height * width))
    found = []
    for masks, rows in zip(soft.split(count), boxes.split(count), strict=True):
        down = (sampled(masks, rows, ys, xs) >= threshold).transpose(1, 2).flatten(1)  # (n, W·H)
        changed = down.clone()
        changed[:, 1:] ^= down[:, :-1]
        counts = changed.sum(dim=1).cpu()  # (n,)
        places = changed.nonzero()[:, 1].cpu()
        found.extend(places.split(counts.tolist()))
    return found


def sampled(soft: Tensor, boxes: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """Return probabilities at pixel centres, by bilinear interpolation; 0 outside the box.

    Args:
        soft: (n, M, M) probabilities in the frame of each box.
        boxes: (n, 4), px.
        ys: (h,) pixel centres.
        xs: (w,) pixel centres.

    Returns:
        (n, h, w).
    """
    x1, y1, x2, y2 = boxes[:, None].unbind(-1)  # (n, 1) each
    down = (ys - y1) / (y2 - y1) * 2 - 1  # (n, h), −1…1 inside the box
    across = (xs - x1) / (x2 - x1) * 2 - 1  # (n, w)
    grid = torch.stack(
        (
            across[:, None, :].expand(-1, len(ys), -1),
            down[:, :, None].expand(-1, -1, len(xs)),
        ),
        dim=-1,
    )  # (n, h, w, 2)
    return F.grid_sample(soft[:, None], grid, align_corners=False)[:, 0]  # (n, h, w)
