"""Box arithmetic: anchors, deltas, clipping, pyramid levels.

Boxes are (n, 4) float32, xyxy, x2/y2 exclusive, in pixels of the resized input unless a name says
otherwise. The formulas and their constants are those of Detectron2 (``modeling/box_regression.py``,
``modeling/anchor_generator.py``, ``modeling/poolers.py``).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

#: Largest log-scale a delta may ask for: keeps exp() finite (box_regression.py).
SCALE_CLAMP = math.log(1000.0 / 16)

#: A box of this size (√area, px) is pooled from p4 (poolers.py, FPN paper eq. 1).
CANONICAL_SIZE_PX = 224
CANONICAL_LEVEL = 4

#: Shapes whose anchors a GPU keeps; those of an image of 800 × 1333 px take 4.3 MB.
KEPT_SHAPES = 16


def at_least_float32(values: Tensor) -> Tensor:
    """Return values of a reduced precision as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


def cell_anchors(size_px: float, ratios: Sequence[float]) -> Tensor:
    """Return the anchors of one cell around the origin.

    Args:
        size_px: Square root of their area, in px of the input.
        ratios: Height over width of each; the area is kept.

    Returns:
        (A, 4) float32, A = len(ratios).
    """
    rows = []
    for ratio in ratios:
        width = math.sqrt(size_px**2 / ratio)
        height = ratio * width
        rows.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(rows)  # (A, 4)


def grid_anchors(cell: Tensor, height: int, width: int, stride_px: int) -> Tensor:
    """Return the anchors of all cells of a level, row by row, those of one cell together.

    Args:
        cell: (A, 4) anchors around the origin.
        height: Cells of the level from top to bottom.
        width: Cells of the level from left to right.
        stride_px: Pixels of the input in a cell; the first cell is at 0 (offset 0).

    Returns:
        (height · width · A, 4) float32, px of the input; they may reach over its border.
    """
    ys = torch.arange(height, dtype=torch.float32, device=cell.device) * stride_px
    xs = torch.arange(width, dtype=torch.float32, device=cell.device) * stride_px
    y, x = torch.meshgrid(ys, xs, indexing="ij")  # (height, width) each
    shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)  # (height·width, 1, 4)
    return (shifts + cell[None]).reshape(-1, 4)  # (height·width·A, 4)


def _is_recorded() -> bool:
    """Return whether operators are recorded now; what they return may hold no values then."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state()
        or (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())
    )


class Anchored(nn.Module):
    """A part of a network that has anchors, beside layers of its own.

    Args:
        cells: Per map (A, 4) anchors of one cell around the origin, px of the input. They are
            computed from sizes and ratios, so no checkpoint has them.
        strides_px: Per map, pixels of the input in a cell.
    """

    def __init__(self, cells: Iterable[Tensor], strides_px: Sequence[int]) -> None:
        super().__init__()
        self.strides_px = tuple(strides_px)
        self._kept: OrderedDict[tuple[object, ...], tuple[Tensor, ...]] = OrderedDict()
        for level, cell in enumerate(cells):
            self.register_buffer(f"cell_anchors{level}", cell, persistent=False)

    def anchors(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return per level (H·W·A, 4) in the order of the head's output, in px of the input.

        A GPU, for which they are many small launches, keeps those of the last new shapes. They are
        not to be changed.
        """
        cells = [self.get_buffer(f"cell_anchors{level}") for level in range(len(self.strides_px))]
        sides = [(level.shape[-2], level.shape[-1]) for level in pyramid]
        if not cells[0].is_cuda or _is_recorded():
            return self._made(cells, sides)
        key = (cells[0].device, cells[0].dtype, *sides)
        found = self._kept.get(key)
        if found is None:
            with torch.inference_mode(mode=False):  # a training may use them after an evaluation
                found = tuple(self._made(cells, sides))
            self._kept[key] = found  # of two threads that make them at once, one is kept
            while len(self._kept) > KEPT_SHAPES:
                self._kept.popitem(last=False)
        return list(found)

    def _made(self, cells: Sequence[Tensor], sides: Sequence[tuple[int, int]]) -> list[Tensor]:
        return [
            grid_anchors(cell, height, width, stride)
            for cell, (height, width), stride in zip(cells, sides, self.strides_px, strict=True)
        ]


def apply_deltas(
    deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """Return boxes moved and scaled by deltas.

    Decoding keeps float32 whatever the network computes in; float64 stays.

    Args:
        deltas: (n, 4): dx and dy in widths and heights, dw and dh as logarithms.
        boxes: (n, 4).
        weights: The deltas are divided by these first.

    Returns:
        (n, 4), not clipped.
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
    return torch.stack((x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h), dim=-1)  # (n, 4)


def own_deltas(deltas: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    """Return the deltas of some pairs of a region and a class.

    Args:
        deltas: (R, 4K), or (R, 4) where a box moves alike for all classes.
        rows: (k,) int64, regions.
        classes: (k,) int64, one a region.

    Returns:
        (k, 4).
    """
    each = deltas.view(len(deltas), deltas.shape[1] // 4, 4)  # (R, K or 1, 4)
    return each[rows, 0] if each.shape[1] == 1 else each[rows, classes]


def delta_targets(
    boxes: Tensor, wanted: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """Return the deltas that turn boxes into others: the inverse of `apply_deltas`.

    Args:
        boxes: (n, 4), of positive width and height.
        wanted: (n, 4), of positive width and height.
        weights: The deltas are multiplied by these last.

    Returns:
        (n, 4): dx, dy, dw, dh.
    """
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
    return torch.stack((dx, dy, dw, dh), dim=1)  # (n, 4)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Return boxes cut at the border of an image; their number stays.

    Args:
        boxes: (n, 4).
        height: Height of the image, px.
        width: Width of the image, px.

    Returns:
        (n, 4); a box outside the image becomes empty.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)  # (n,) each
    return torch.stack(
        (x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1
    )


def nonempty(boxes: Tensor) -> Tensor:
    """Return (n,) bool: whether width and height of each box are above zero."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def pyramid_levels(boxes: Tensor, lowest: int = 2, highest: int = 5) -> Tensor:
    """Return the level of the pyramid that each box is pooled from.

    Args:
        boxes: (n, 4).
        lowest: Level of the smallest boxes.
        highest: Level of the largest boxes.

    Returns:
        (n,) int64, lowest … highest.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    levels = torch.floor(CANONICAL_LEVEL + torch.log2(areas.sqrt() / CANONICAL_SIZE_PX + 1e-8))
    return levels.clamp(lowest, highest).to(torch.int64)
