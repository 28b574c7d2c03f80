"""Non-maximum suppression into fixed slots, without a wait for the device.

torchvision's operator returns as many rows as survive, so the host has to wait for their number.
Here the result has a fixed size: a flag a candidate, or the first so many survivors and their
count. The rule is torchvision's: boxes in order of their scores, each kept unless its intersection
over union with a kept one before it is above the threshold.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Candidates that one word of the overlap table has bits of.
WORD = 32

#: Words of a row of the table: of a test's candidates, at most 1,000 a level, and of a training's
#: 2,000. A lane of a warp holds one, or two.
ROWS_OF_WORDS = (32, 64)

#: Candidates of one segment at most (``slot_regions.MOST_A_LEVEL``).
SEGMENT_MAX = WORD * ROWS_OF_WORDS[-1]

#: More than any position.
NOWHERE = 1 << 30


def kept_in_segments(
    boxes: Tensor, valid: Tensor, starts: Tensor, longest: int, threshold: float
) -> Tensor:
    """Return which candidates survive; those of one segment suppress each other only.

    Args:
        boxes: (B, N, 4) float32, xyxy; segment by segment, best score first in each.
        valid: (B, N) bool; the others neither survive nor suppress.
        starts: (segments + 1,) int32, where each segment begins, and N.
        longest: Candidates of the longest segment, at most SEGMENT_MAX.
        threshold: Largest intersection over union of two that both survive.

    Returns:
        (B, N) bool.

    Raises:
        ValueError: A segment is longer than SEGMENT_MAX.
    """
    if longest > SEGMENT_MAX:
        raise ValueError(f"a segment of {longest} candidates, at most {SEGMENT_MAX}")
    batch, count, _ = boxes.shape
    segments, tiles = len(starts) - 1, triton.cdiv(longest, WORD)
    width = next(one for one in ROWS_OF_WORDS if one >= tiles)
    words = boxes.new_empty((batch, count, width), dtype=torch.int32)
    alive = valid.to(torch.int32)
    kept = torch.zeros_like(alive)
    with torch.cuda.device_of(boxes):
        _overlaps[(batch * segments, tiles, tiles)](
            boxes.contiguous(),
            words,
            starts,
            count,
            segments,
            threshold,
            WORD=WORD,
            WIDTH=width,
            num_warps=4,
        )
        _sweep[(batch * segments,)](
            words, alive, kept, starts, count, segments, WORD=WORD, WIDTH=width, num_warps=1
        )
    return kept.bool()


def first_survivors(
    boxes: Tensor, counts: Tensor, threshold: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Return the best survivors of each image.

    Args:
        boxes: (B, N, 4) float32, xyxy, best score first.
        counts: (B,) int32, how many of the N rows of an image are candidates.
        threshold: Largest intersection over union of two that both survive.
        limit: Number of survivors to find.

    Returns:
        (B, limit) int64 rows of the survivors, best first, 0 beyond them; and (B,) int32, how many
        there are.
    """
    batch, rows, _ = boxes.shape
    found = boxes.new_zeros((batch, limit), dtype=torch.int64)
    number = boxes.new_zeros((batch,), dtype=torch.int32)
    block = triton.next_power_of_2(rows)
    with torch.cuda.device_of(boxes):
        _select[(batch,)](
            boxes.contiguous(),
            counts,
            found,
            number,
            rows,
            limit,
            threshold,
            BLOCK=block,
            NOWHERE=NOWHERE,
            num_warps=8 if block >= 1024 else 1,
        )
    return found, number


@triton.jit
def _iou_above(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, threshold):  # type: ignore[no-untyped-def]
    """Return whether the intersection over union of boxes a and b is above the threshold."""
    width = tl.maximum(tl.minimum(ax2, bx2) - tl.maximum(ax1, bx1), 0.0)
    height = tl.maximum(tl.minimum(ay2, by2) - tl.maximum(ay1, by1), 0.0)
    shared = width * height
    area_a = (ax2 - ax1) * (ay2 - ay1)
    area_b = (bx2 - bx1) * (by2 - by1)
    # Rounded as torchvision's division is: the usual one of a GPU is up to two last bits off.
    return tl.div_rn(shared, area_a + area_b - shared) > threshold


@triton.jit(do_not_specialize=["count", "segments"])
def _overlaps(  # type: ignore[no-untyped-def]
    boxes,
    words,
    starts,
    count,
    segments,
    threshold,
    WORD: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write a tile of the table: bit c of word w of row r says that r would suppress 32w + c.

    Only later candidates of the same segment are ever suppressed.
    """
    image = tl.program_id(0) // segments
    segment = tl.program_id(0) % segments
    first = tl.load(starts + segment)
    last = tl.load(starts + segment + 1)
    lanes = tl.arange(0, WORD)
    row = first + tl.program_id(1) * WORD + lanes
    column = first + tl.program_id(2) * WORD + lanes
    here = row < last
    there = column < last
    a = boxes + (image * count + row) * 4
    b = boxes + (image * count + column) * 4
    ax1 = tl.load(a, mask=here, other=0.0)[:, None]
    ay1 = tl.load(a + 1, mask=here, other=0.0)[:, None]
    ax2 = tl.load(a + 2, mask=here, other=1.0)[:, None]
    ay2 = tl.load(a + 3, mask=here, other=1.0)[:, None]
    bx1 = tl.load(b, mask=there, other=0.0)[None, :]
    by1 = tl.load(b + 1, mask=there, other=0.0)[None, :]
    bx2 = tl.load(b + 2, mask=there, other=1.0)[None, :]
    by2 = tl.load(b + 3, mask=there, other=1.0)[None, :]
    above = _iou_above(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, threshold)
    above = above & (column[None, :] > row[:, None]) & there[None, :]
    bits = tl.sum(above.to(tl.int32) << lanes[None, :], axis=1)
    place = words + (image * count + row) * WIDTH + tl.program_id(2)
    tl.store(place, bits, mask=here)


@triton.jit(do_not_specialize=["count", "segments"])
def _sweep(  # type: ignore[no-untyped-def]
    words,
    alive,
    kept,
    starts,
    count,
    segments,
    WORD: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Go through one segment, best candidate first: a kept one removes what it overlaps."""
    image = tl.program_id(0) // segments
    segment = tl.program_id(0) % segments
    first = tl.load(starts + segment)
    length = tl.load(starts + segment + 1) - first
    used = (length + WORD - 1) // WORD
    lanes = tl.arange(0, WIDTH)
    removed = tl.zeros((WIDTH,), dtype=tl.int32)
    for index in range(0, length):
        place = image * count + first + index
        row = tl.load(words + place * WIDTH + lanes, mask=lanes < used, other=0)
        own = tl.sum(tl.where(lanes == index // WORD, removed, 0), axis=0)
        stays = ((own >> (index % WORD)) & 1 == 0) & (tl.load(alive + place) != 0)
        removed = tl.where(stays, removed | row, removed)
        tl.store(kept + place, stays.to(tl.int32))


@triton.jit(do_not_specialize=["rows", "limit"])
def _select(  # type: ignore[no-untyped-def]
    boxes,
    counts,
    found,
    number,
    rows,
    limit,
    threshold,
    BLOCK: tl.constexpr,
    NOWHERE: tl.constexpr,
):
    """Find survivors of one image: keep the first candidate left, remove its overlaps, repeat."""
    image = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    count = tl.load(counts + image)
    left = lanes < tl.minimum(count, rows)
    base = boxes + image * rows * 4
    x1 = tl.load(base + lanes * 4, mask=left, other=0.0)
    y1 = tl.load(base + lanes * 4 + 1, mask=left, other=0.0)
    x2 = tl.load(base + lanes * 4 + 2, mask=left, other=1.0)
    y2 = tl.load(base + lanes * 4 + 3, mask=left, other=1.0)
    taken = 0
    best = tl.min(tl.where(left, lanes, NOWHERE), axis=0)
    while (taken < limit) & (best < NOWHERE):
        tl.store(found + image * limit + taken, best.to(tl.int64))
        taken += 1
        a = base + best * 4
        above = _iou_above(
            tl.load(a), tl.load(a + 1), tl.load(a + 2), tl.load(a + 3), x1, y1, x2, y2, threshold
        )
        left = left & (lanes > best) & (above == 0)
        best = tl.min(tl.where(left, lanes, NOWHERE), axis=0)
    tl.store(number + image, taken)
