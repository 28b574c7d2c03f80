"""COCO's run lengths as pixels: the part of reading masks that needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


#: Characters of a mask that an error shows.
SHOWN = 60


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask of height × width pixels as COCO's compressed run lengths."""

    height_px: int
    """Rows of the mask."""

    width_px: int
    """Columns of the mask."""

    counts: str
    """Lengths of alternating runs of false and true, down the columns, as COCO's text."""


def decode(rle: Rle) -> npt.NDArray[np.bool_]:
    """The mask as pixels.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: When the runs do not cover the mask.
    """
    import numpy as np

    runs = run_lengths(rle.counts)
    if runs is None or sum(runs) != rle.height_px * rle.width_px:
        raise ValueError(no_runs(rle))
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask: npt.NDArray[np.bool_] = flat.reshape(rle.width_px, rle.height_px).T
    return mask


def no_runs(rle: Rle) -> str:
    """What an error says of runs that do not cover their mask."""
    text = rle.counts if len(rle.counts) <= SHOWN else f"{rle.counts[:SHOWN]}…"
    return f"no runs of a mask of {rle.height_px} × {rle.width_px} px: {text}"


def run_lengths(counts: str | Sequence[Any]) -> Sequence[int] | None:
    """Lengths of alternating runs of false and true, compressed or not; None when there are none.

    Their sum must be height × width. The evaluators take that for granted: given shorter runs, they
    never come back. Text follows ``core.rle_text``; many texts at once are read faster there.
    """
    from harness.core.rle_text import parse

    runs: Sequence[Any] | None = counts
    if isinstance(counts, str):
        parsed = parse([counts])
        runs = parsed.lengths.tolist() if parsed.readable[0] else None
    if runs is None or not all(type(run) is int and run >= 0 for run in runs):
        return None
    return runs
