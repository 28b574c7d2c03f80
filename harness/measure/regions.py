"""The part of a mask that can be true, decoded without ever making the whole mask.

The counterpart of ``measure.rle.encode_region``: what is drawn of an image of many megapixels is a
few small objects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.core.detections import Rle


class Region(NamedTuple):
    """The part of a mask that can be true: (h, w) bool, its first pixel at (top_px, left_px)."""

    pixels: npt.NDArray[np.bool_]
    top_px: int
    left_px: int


def decode_region(rle: Rle) -> Region:
    """The tight region of a mask, without ever making the whole one; 0 × 0 where nothing is true.

    The work grows with the region, not with the image. ValueError as of ``measure.rle.decode``.
    """
    height = rle.height_px
    edges = _edge_positions(rle)
    starts, ends = edges[0::2], edges[1::2]
    full = ends > starts
    starts, ends = starts[full], ends[full]
    if not len(starts):
        return Region(np.zeros((0, 0), dtype=bool), 0, 0)
    left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
    first, last = starts % height, (ends - 1) % height
    top, bottom = int(first.min()), int(last.max()) + 1
    if (ends - starts > height - first).any():  # goes on in the next column
        top, bottom = 0, height
    rows, columns = bottom - top, right - left
    begin = (starts // height - left) * rows + first - top
    edges = np.stack((begin, begin + ends - starts), axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=rows * columns)
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return Region(flat.reshape(columns, rows).T, top, left)


def _edge_positions(rle: Rle) -> npt.NDArray[np.int64]:
    """Positions x · height + y where runs begin and end, an even number of them, ascending.

    All characters of the text at once; ``measure.rle`` says what they mean.
    """
    bits = np.frombuffer(rle.counts.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    closing = np.flatnonzero((bits & 32) == 0)
    odd_text = not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32
    if odd_text or np.diff(closing, prepend=-1).max() > 12:  # 12 · 5 bits: what 64 can hold
        raise ValueError(f"no run lengths: {rle.counts}")
    begins = np.concatenate(([0], closing[:-1] + 1))
    places = np.arange(len(bits)) - np.repeat(begins, np.diff(closing, prepend=-1))
    runs = np.add.reduceat((bits & 31) << (5 * places), begins)
    runs -= ((bits[closing] & 16) != 0).astype(np.int64) << (5 * (closing - begins + 1))
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    edges: npt.NDArray[np.int64] = np.cumsum(runs)
    if runs.min() < 0 or edges[-1] != rle.height_px * rle.width_px:
        raise ValueError(f"no runs of a mask of {rle.height_px} × {rle.width_px} px: {rle.counts}")
    return edges if len(edges) % 2 == 0 else edges[:-1]
