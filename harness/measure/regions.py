"""The part of a mask that can be true, decoded without ever making the whole mask.

The counterpart of ``measure.rle.encode_region``: the objects drawn on an image of many megapixels
are often few and small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.core.detections import Rle
from harness.core.rle_text import parse
from harness.measure.rle import no_runs


class Region(NamedTuple):
    """The part of a mask that can be true."""

    pixels: npt.NDArray[np.bool_]
    """(h, w) bool; 0 × 0 for an empty mask."""

    top_px: int
    """Row of its first pixel in the image."""

    left_px: int
    """Column of its first pixel in the image."""


def decode_region(rle: Rle) -> Region:
    """The tight region of a mask, without ever making the whole one; 0 × 0 where nothing is true.

    The work grows with the region, not with the image.

    Raises:
        ValueError: The runs do not cover the mask.
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
    if (ends - starts > height - first).any():  # continues in the next column
        top, bottom = 0, height
    rows, columns = bottom - top, right - left
    begin = (starts // height - left) * rows + first - top
    edges = np.stack((begin, begin + ends - starts), axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=rows * columns)
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return Region(flat.reshape(columns, rows).T, top, left)


def _edge_positions(rle: Rle) -> npt.NDArray[np.int64]:
    """Positions x · height + y where runs begin and end, an even number of them, ascending."""
    runs = parse([rle.counts])
    edges: npt.NDArray[np.int64] = np.cumsum(runs.lengths)
    whole = runs.readable[0] and runs.lengths.min() >= 0
    if not whole or edges[-1] != rle.height_px * rle.width_px:
        raise ValueError(no_runs(rle))
    return edges if len(edges) % 2 == 0 else edges[:-1]
