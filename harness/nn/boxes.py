"""Box arithmetic: anchors, deltas, clipping, pyramid levels.

Boxes are (n, 4) float32, xyxy, x2/y2 exclusive, in pixels of the resized input unless a name says
otherwise. The formulas and their constants are those of Detectron2 (``modeling/box_regression.py``,
``modeling/anchor_generator.py``, ``modeling/poolers.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: Largest log-scale a delta may ask for: keeps exp() finite (box_regression.py).
SCALE_CLAMP = math.log(1000.0 / 16)

#: A box of this size (√area, px) is pooled from p4 (poolers.py, FPN paper eq. 1).
CANONICAL_SIZE_PX = 224
CANONICAL_LEVEL = 4


def at_least_float32(values: Tensor) -> Tensor:
    """float32 for a reduced precision; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


def cell_anchors(size_px: float, ratios: Sequence[float]) -> Tensor:
    """(len(ratios), 4) anchors around the origin; a ratio is height / width, the area is kept."""
    rows = []
    for ratio in ratios:
        width = math.sqrt(size_px**2 / ratio)
        height = ratio * width
        rows.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(rows)


def grid_anchors(cell: Tensor, height: int, width: int, stride_px: int) -> Tensor:
    """(height · width · A, 4) anchors: row by row, all anchors of one cell together (offset 0)."""
    ys = torch.arange(height, dtype=torch.float32, device=cell.device) * stride_px
    xs = torch.arange(width, dtype=torch.float32, device=cell.device) * stride_px
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)  # (height·width, 1, 4)
    return (shifts + cell[None]).reshape(-1, 4)


def apply_deltas(
    deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """(n, 4) boxes moved and scaled by (n, 4) deltas (dx, dy, dw, dh) divided by their weights.

    Decoding keeps float32 whatever the network computes in; float64 stays.
    """
    deltas = at_least_float32(deltas)
    widths = boxes[:, 2] - boxes[:, 0]
    heights = boxes[:, 3] - boxes[:, 1]
    centres_x = boxes[:, 0] + 0.5 * widths
    centres_y = boxes[:, 1] + 0.5 * heights
    dx = deltas[:, 0] / weights[0]
    dy = deltas[:, 1] / weights[1]
    dw = torch.clamp(deltas[:, 2] / weights[2], max=SCALE_CLAMP)
    dh = torch.clamp(deltas[:, 3] / weights[3], max=SCALE_CLAMP)
    x = dx * widths + centres_x
    y = dy * heights + centres_y
    w = torch.exp(dw) * widths
    h = torch.exp(dh) * heights
    return torch.stack((x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h), dim=-1)


def delta_targets(
    boxes: Tensor, wanted: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """(n, 4) deltas that turn ``boxes`` into ``wanted``: the inverse of apply_deltas."""
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    centres_x = boxes[:, 0] + 0.5 * widths
    centres_y = boxes[:, 1] + 0.5 * heights
    wanted_widths, wanted_heights = wanted[:, 2] - wanted[:, 0], wanted[:, 3] - wanted[:, 1]
    wanted_x = wanted[:, 0] + 0.5 * wanted_widths
    wanted_y = wanted[:, 1] + 0.5 * wanted_heights
    dx = weights[0] * (wanted_x - centres_x) / widths
    dy = weights[1] * (wanted_y - centres_y) / heights
    dw = weights[2] * torch.log(wanted_widths / widths)
    dh = weights[3] * torch.log(wanted_heights / heights)
    return torch.stack((dx, dy, dw, dh), dim=1)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes cut at the border of a height × width image; the count stays."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(
        (x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1
    )


def nonempty(boxes: Tensor) -> Tensor:
    """(n,) bool: width and height are both above zero."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def pyramid_levels(boxes: Tensor, lowest: int = 2, highest: int = 5) -> Tensor:
    """(n,) int64 level of the pyramid each box is pooled from, between lowest and highest."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    levels = torch.floor(CANONICAL_LEVEL + torch.log2(areas.sqrt() / CANONICAL_SIZE_PX + 1e-8))
    return levels.clamp(lowest, highest).to(torch.int64)
