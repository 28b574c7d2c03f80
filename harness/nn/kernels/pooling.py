"""RoIAlign of boxes on all levels of a pyramid at once, from maps whose channels lie last.

The arithmetic is torchvision's (``roi_align_kernel.cu``, aligned, adaptive sampling), sample by
sample in its order. Each box is pooled from the level of its size, which the kernel finds itself,
so that the host need not know how many boxes a level has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor


def pooled_from_levels(
    maps: Sequence[Tensor], boxes: Tensor, levels: Tensor, side: int, dtype: torch.dtype
) -> Tensor:
    """Return pooled regions of B images with as many boxes each.

    Args:
        maps: p2 … p5, each (B, C, H, W) with channels last in memory, of any precision.
        boxes: (B, R, 4) float32, px of the resized input.
        levels: (B, R) int64, 2 … 5.
        side: Cells of a pooled region in each direction.
        dtype: Data type of the result; sums are float32.

    Returns:
        (B · R, C, side, side), channels last in memory.

    Raises:
        ValueError: A map is not channels last.
    """
    batch, count, _ = boxes.shape
    channels = maps[0].shape[1]
    lying = [one.permute(0, 2, 3, 1) for one in maps]
    for one in lying:
        if not one.is_contiguous():
            raise ValueError("maps must lie channels last")
    out = torch.empty((batch * count, side, side, channels), dtype=dtype, device=boxes.device)
    sizes = [length for one in lying for length in one.shape[1:3]]
    with torch.cuda.device_of(out):
        _pool[(batch * count, side * side)](
            *lying,
            boxes.contiguous(),
            levels.contiguous(),
            out,
            *sizes,
            count,
            SIDE=side,
            CHANNELS=channels,
            BLOCK=triton.next_power_of_2(channels),
            num_warps=2 if channels >= 128 else 1,
        )
    return out.permute(0, 3, 1, 2)


@triton.jit
def _cell(base, y, x, width, lanes, inside, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return all channels of one cell, in float32."""
    return tl.load(base + (y * width + x) * CHANNELS + lanes, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _sampled(base, y, x, height, width, lanes, inside, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return all channels at one place of a map, by linear interpolation between four cells."""
    y = tl.maximum(y, 0.0)
    x = tl.maximum(x, 0.0)
    low_y = tl.minimum(y.to(tl.int32), height - 1)
    low_x = tl.minimum(x.to(tl.int32), width - 1)
    high_y = tl.minimum(low_y + 1, height - 1)
    high_x = tl.minimum(low_x + 1, width - 1)
    # Past the last cell both corners are that cell, as in torchvision.
    part_y = tl.where(low_y == high_y, 0.0, y - low_y)
    part_x = tl.where(low_x == high_x, 0.0, x - low_x)
    rest_y = 1.0 - part_y
    rest_x = 1.0 - part_x
    return (
        rest_y * rest_x * _cell(base, low_y, low_x, width, lanes, inside, CHANNELS)
        + rest_y * part_x * _cell(base, low_y, high_x, width, lanes, inside, CHANNELS)
        + part_y * rest_x * _cell(base, high_y, low_x, width, lanes, inside, CHANNELS)
        + part_y * part_x * _cell(base, high_y, high_x, width, lanes, inside, CHANNELS)
    )


@triton.jit
def _of_level(level, first, second, third, fourth):  # type: ignore[no-untyped-def]
    """Return one of four numbers, by the level 2 … 5."""
    return tl.where(
        level == 2, first, tl.where(level == 3, second, tl.where(level == 4, third, fourth))
    )


@triton.jit(do_not_specialize=["h2", "w2", "h3", "w3", "h4", "w4", "h5", "w5", "count"])
def _pool(  # type: ignore[no-untyped-def]
    p2, p3, p4, p5, boxes, levels, out, h2, w2, h3, w3, h4, w4, h5, w5, count,
    SIDE: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute one cell of one pooled region, all channels."""
    region = tl.program_id(0).to(tl.int64)
    cell = tl.program_id(1)
    level = tl.load(levels + region)
    lanes = tl.arange(0, BLOCK)
    inside = lanes < CHANNELS
    height = _of_level(level, h2, h3, h4, h5)
    width = _of_level(level, w2, w3, w4, w5)
    scale = _of_level(level, 0.25, 0.125, 0.0625, 0.03125)
    if level == 2:
        base = p2
    elif level == 3:
        base = p3
    elif level == 4:
        base = p4
    else:
        base = p5
    base += (region // count) * height * width * CHANNELS
    left = tl.load(boxes + region * 4) * scale - 0.5
    top = tl.load(boxes + region * 4 + 1) * scale - 0.5
    bin_width = (tl.load(boxes + region * 4 + 2) * scale - 0.5 - left) / SIDE
    bin_height = (tl.load(boxes + region * 4 + 3) * scale - 0.5 - top) / SIDE
    down = tl.ceil(bin_height).to(tl.int32)
    across = tl.ceil(bin_width).to(tl.int32)
    start_y = top + (cell // SIDE) * bin_height
    start_x = left + (cell % SIDE) * bin_width
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for row in range(0, down):
        y = start_y + (row + 0.5) * bin_height / down
        for column in range(0, across):
            x = start_x + (column + 0.5) * bin_width / across
            if (y >= -1.0) & (y <= height) & (x >= -1.0) & (x <= width):
                total += _sampled(base, y, x, height, width, lanes, inside, CHANNELS)
    mean = total / tl.maximum(down * across, 1)
    tl.store(out + (region * SIDE * SIDE + cell) * CHANNELS + lanes, mean, mask=inside)
