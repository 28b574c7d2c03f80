"""Soft masks pasted into the frame of the original image.

The rule is Detectron2's (``layers/mask_ops.py``, CPU path): bilinear sampling of the soft mask at
pixel centres, zero outside it, and a threshold. Only the pixels inside each box are computed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PastedMask(NamedTuple):
    """The part of a binary mask that can be true.

    region: (h, w) bool, its top-left pixel at (top_px, left_px) of the image.
    """

    region: Tensor
    top_px: int
    left_px: int


def paste(
    soft: Tensor, boxes: Tensor, height: int, width: int, threshold: float
) -> list[PastedMask]:
    """Binary masks of n detections.

    soft: (n, M, M) float32 probabilities in the frame of each box. boxes: (n, 4) float32, pixels
    of the original height × width image, non-empty.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
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
        ys = (ys - box[1]) / (box[3] - box[1]) * 2 - 1
        xs = (xs - box[0]) / (box[2] - box[0]) * 2 - 1
        grid = torch.stack(
            (xs[None, :].expand(len(ys), -1), ys[:, None].expand(-1, len(xs))), dim=-1
        )  # (h, w, 2)
        sampled = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        pasted.append(PastedMask(sampled >= threshold, top, left))
    return pasted
