"""Masks pasted into their image and returned as outlines, without a wait for the device.

The rule is that of ``nn.masks.paste_outlines``: bilinear sampling of the soft mask at pixel
centres, zero outside it, a threshold, and then the places where the mask changes down the columns
of the image. Only the columns and rows around a box are looked at. The places of all masks of an
image lie one behind the other in a buffer of fixed size; how many each mask has is counted first.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Programs that share the columns of one mask.
SHARES = 32

#: Rows looked at together.
ROWS = 256


def outlines(
    soft: Tensor,
    boxes: Tensor,
    kept: Tensor,
    sizes: Tensor,
    threshold: float,
    capacity: int,
    *,
    shares: int = SHARES,
) -> tuple[Tensor, Tensor]:
    """Return where, down the columns of its image, each mask changes from one pixel to the next.

    Args:
        soft: (B · D, M, M) float32 probabilities in the frame of each box.
        boxes: (B, D, 4) float32, px of the original image.
        kept: (B, D) bool; the others have no outline.
        sizes: (B, 2) int32, height and width of each original image.
        threshold: Probability from which a pixel belongs to the mask.
        capacity: Places kept of an image.
        shares: Programs that share the columns of one mask.

    Returns:
        (B, capacity) int32, the places x · height + y of the image's masks one after the other,
        ascending in each; unwritten beyond them. And (B, D) int32, how many each mask has: more
        together than ``capacity`` means that the last ones are missing.
    """
    batch, count, _ = boxes.shape
    side = soft.shape[-1]
    soft, boxes = soft.contiguous(), boxes.contiguous()
    alive = kept.to(torch.int32)
    found = torch.empty((batch, count * shares), dtype=torch.int32, device=soft.device)
    places = torch.empty((batch, capacity), dtype=torch.int32, device=soft.device)
    grid = (batch * count, shares)
    given = (soft, boxes, alive, sizes, found)
    numbers = (places, count, threshold, capacity, side)
    with torch.cuda.device_of(soft):
        _trace[grid](*given, found, *numbers, False, shares, ROWS, num_warps=4)
        before = found.cumsum(1, dtype=torch.int32) - found
        _trace[grid](*given, before, *numbers, True, shares, ROWS, num_warps=4)
    return places, found.view(batch, count, shares).sum(2, dtype=torch.int32)


@triton.jit
def _value(soft, y, x, inside, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return cells of the soft mask; zero outside it."""
    inside = inside & (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE)
    return tl.load(soft + y * SIDE + x, mask=inside, other=0.0)


@triton.jit
def _filled(soft, x, y, box_x, box_y, box_w, box_h, threshold, inside, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return whether pixels (x, y) belong to the mask: torch's grid_sample, then the threshold."""
    across = (x + 0.5 - box_x) / box_w * 2.0 - 1.0
    down = (y + 0.5 - box_y) / box_h * 2.0 - 1.0
    cell_x = ((across + 1.0) * SIDE - 1.0) / 2.0
    cell_y = ((down + 1.0) * SIDE - 1.0) / 2.0
    west = tl.floor(cell_x)
    north = tl.floor(cell_y)
    east_part = cell_x - west
    south_part = cell_y - north
    west_part = west + 1.0 - cell_x
    north_part = north + 1.0 - cell_y
    column = west.to(tl.int32)
    row = north.to(tl.int32)
    total = _value(soft, row, column, inside, SIDE) * (west_part * north_part)
    total += _value(soft, row, column + 1, inside, SIDE) * (east_part * north_part)
    total += _value(soft, row + 1, column, inside, SIDE) * (west_part * south_part)
    total += _value(soft, row + 1, column + 1, inside, SIDE) * (east_part * south_part)
    return inside & (total >= threshold)


@triton.jit
def _changes(  # type: ignore[no-untyped-def]
    soft, x, y, left, top, right, bottom, end, height, wraps, box_x, box_y, box_w, box_h, threshold,
    SIDE: tl.constexpr,
):  # fmt: skip
    """Return 1 for each pixel (x, y) that differs from the one before it, down the columns."""
    inside = (y < bottom) & (x < right)
    now = _filled(soft, x, y, box_x, box_y, box_w, box_h, threshold, inside, SIDE)
    goes_on = tl.where(wraps, y, 1) == 0
    old_x = tl.where(goes_on, x - 1, x)
    old_y = tl.where(goes_on, height - 1, y - 1)
    known = (y < end) & (old_y >= top) & (old_x >= left) & (old_x < right)
    old = _filled(soft, old_x, old_y, box_x, box_y, box_w, box_h, threshold, known, SIDE)
    return ((now != old) & (y < end)).to(tl.int32)


@triton.jit(do_not_specialize=["count", "capacity"])
def _trace(  # type: ignore[no-untyped-def]
    soft, boxes, alive, sizes, counted, before, places, count, threshold, capacity,
    SIDE: tl.constexpr, WRITES: tl.constexpr, SHARES: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Count the changes in one share of a mask's columns, or write them.

    A mask that reaches from the top of the image to its bottom continues from a column's last pixel
    to the next one's first. Any other ends above or at the bottom: one row more is examined.
    """
    mask = tl.program_id(0)
    share = tl.program_id(1)
    image = (mask // count).to(tl.int64)
    height = tl.load(sizes + image * 2)
    width = tl.load(sizes + image * 2 + 1)
    box_x = tl.load(boxes + mask * 4)
    box_y = tl.load(boxes + mask * 4 + 1)
    box_r = tl.load(boxes + mask * 4 + 2)
    box_b = tl.load(boxes + mask * 4 + 3)
    left = tl.maximum(tl.floor(box_x) - 1.0, 0.0).to(tl.int32)
    top = tl.maximum(tl.floor(box_y) - 1.0, 0.0).to(tl.int32)
    right = tl.minimum((tl.ceil(box_r) + 1.0).to(tl.int32), width)
    bottom = tl.minimum((tl.ceil(box_b) + 1.0).to(tl.int32), height)
    wraps = (top == 0) & (bottom == height)
    end = tl.where(wraps, height, bottom + 1)
    columns = tl.where(wraps & (right < width), right - left + 1, right - left)
    columns = tl.where(tl.load(alive + mask) != 0, tl.maximum(columns, 0), 0)
    each = (columns + SHARES - 1) // SHARES
    first = left + share * each
    soft += mask.to(tl.int64) * SIDE * SIDE
    slot = image * count * SHARES + (mask % count) * SHARES + share
    found = 0
    if WRITES:
        found = tl.load(before + slot)
    for column in range(first, tl.minimum(first + each, left + columns)):
        x = tl.zeros((ROWS,), dtype=tl.int32) + column
        for start in range(top, end, ROWS):
            y = start + tl.arange(0, ROWS)
            changes = _changes(
                soft, x, y, left, top, right, bottom, end, height, wraps,
                box_x, box_y, box_r - box_x, box_b - box_y, threshold, SIDE,
            )  # fmt: skip
            if WRITES:
                place = found + tl.cumsum(changes, axis=0) - 1
                where = places + image * capacity + place
                tl.store(where, x * height + y, mask=(changes != 0) & (place < capacity))
            found += tl.sum(changes, axis=0)
    if not WRITES:
        tl.store(counted + slot, found)
