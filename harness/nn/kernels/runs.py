"""Outlines of masks as COCO's text of run lengths, written by the device.

The rule is ``measure.masks``'s: runs between the places where a mask changes, from the fourth on as
differences to the one before the last, each in characters of five bits. All masks of an image lie
one behind the other in a buffer of fixed size.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Runs of one mask looked at together.
BLOCK = 256

#: Characters of a run at most: 31 bits in fives.
LONGEST = 7


def characters(
    places: Tensor, counts: Tensor, kept: Tensor, sizes: Tensor, capacity: int
) -> tuple[Tensor, Tensor]:
    """Return the text of every mask.

    Args:
        places: (B, E) int32, where masks change, one mask after the other (``outlines``).
        counts: (B, D) int32, how many places each mask has.
        kept: (B, D) bool; the others have no text.
        sizes: (B, 2) int32, height and width of each original image.
        capacity: Characters kept of an image.

    Returns:
        (B, capacity) uint8, unwritten beyond the text; and (B, D) int32, the characters of each
        mask: more together than ``capacity`` means that the last ones are missing.
    """
    batch, count = counts.shape
    first = counts.cumsum(1, dtype=torch.int32) - counts
    alive = kept.to(torch.int32)
    lengths = torch.empty_like(counts)
    text = torch.empty((batch, capacity), dtype=torch.uint8, device=places.device)
    grid, room = (batch * count,), places.shape[1]
    given = (places, first, counts, alive, sizes, lengths)
    numbers = (text, count, room, capacity)
    with torch.cuda.device_of(places):
        _write[grid](*given, lengths, *numbers, WRITES=False, BLOCK=BLOCK, LONGEST=LONGEST)
        before = lengths.cumsum(1, dtype=torch.int32) - lengths
        _write[grid](*given, before, *numbers, WRITES=True, BLOCK=BLOCK, LONGEST=LONGEST)
    return text, lengths


@triton.jit
def _edge(base, index, number, end, room):  # type: ignore[no-untyped-def]
    """Return where run ``index`` ends: at a place or the end of the mask; 0 before the first."""
    place = tl.load(base + index, mask=(index >= 0) & (index < number) & (index < room), other=0)
    return tl.where(index < number, place, end)


@triton.jit
def _value(base, index, number, end, room):  # type: ignore[no-untyped-def]
    """Return the number that the text has for run ``index``."""
    own = _edge(base, index, number, end, room) - _edge(base, index - 1, number, end, room)
    third = _edge(base, index - 2, number, end, room) - _edge(base, index - 3, number, end, room)
    return tl.where(index > 2, own - third, own)


@triton.jit
def _goes_on(rest, bits):  # type: ignore[no-untyped-def]
    """Return whether more characters follow: the sign is not written yet, or numbers are left."""
    return tl.where((bits & 16) != 0, rest != -1, rest != 0)


@triton.jit(do_not_specialize=["count", "room", "capacity"])
def _write(  # type: ignore[no-untyped-def]
    places, first, counts, alive, sizes, lengths, before, text, count, room, capacity,
    WRITES: tl.constexpr, BLOCK: tl.constexpr, LONGEST: tl.constexpr,
):  # fmt: skip
    """Measure the text of one mask, or write it."""
    mask = tl.program_id(0)
    image = (mask // count).to(tl.int64)
    end = tl.load(sizes + image * 2) * tl.load(sizes + image * 2 + 1)
    number = tl.load(counts + mask)
    start = tl.load(first + mask)
    base = places + image * room + start
    room = room - start
    last = _edge(base, number - 1, number, end, room)
    # The last place of a mask may be the end of the image: that run has no length.
    runs = tl.where(tl.load(alive + mask) != 0, tl.where(last == end, number, number + 1), 0)
    found = 0
    if WRITES:
        found = tl.load(before + mask)
    for begin in range(0, runs, BLOCK):
        index = begin + tl.arange(0, BLOCK)
        inside = index < runs
        rest = _value(base, index, number, end, room)
        length = tl.zeros((BLOCK,), dtype=tl.int32)
        going = inside
        for _ in tl.static_range(LONGEST):
            bits = rest & 31
            rest = rest >> 5
            length += going.to(tl.int32)
            going = going & _goes_on(rest, bits)
        if WRITES:
            place = found + tl.cumsum(length, axis=0) - length
            rest = _value(base, index, number, end, room)
            for number_of in tl.static_range(LONGEST):
                bits = rest & 31
                rest = rest >> 5
                more = tl.where(_goes_on(rest, bits), 32, 0)
                where = place + number_of
                fits = inside & (number_of < length) & (where < capacity)
                letter = (bits + more + 48).to(tl.uint8)
                tl.store(text + image * capacity + where, letter, mask=fits)
        found += tl.sum(length, axis=0)
    if not WRITES:
        tl.store(lengths + mask, found)
