"""What people drew on photographs, whatever program they used: the one shape all formats end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: x, y, x, y, … of a closed outline.
Outline = list[float]

#: (height, width) of the frame that coordinates are in.
Frame = tuple[float, float]

#: More pixels than any program shows; Pillow refuses to decode a third of it.
LARGEST_PX = 1 << 29

PERCENT: Frame = (100.0, 100.0)
UNIT: Frame = (1.0, 1.0)


def told_size(height: Any, width: Any) -> tuple[int, int] | None:
    """(height, width) of numbers from a file; None unless both are whole, positive, of an image."""
    sides = (height, width)
    if not all(type(one) in (int, float) and one > 0 and one == one // 1 for one in sides):
        return None
    return (int(height), int(width)) if height * width <= LARGEST_PX else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnObject:
    """One object as its annotator drew it.

    where: file and place in it, as a report names it. outlines: parts of the object in the frame
    of its image, x to the right and y down; they may leave it. mask: bool, of the whole image in
    any resolution; None for outlines. is_box: the one outline has four corners and says where the
    object is, not what it covers. crowd: many objects drawn as one.
    """

    category: str
    where: str
    outlines: tuple[Outline, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None
    is_box: bool = False
    crowd: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One photograph and what was drawn on it.

    names: what it may be called, the likeliest first, with any slashes. beside: the folder those
    names are relative to. frame: what coordinates are measured in, None for the pixels of the image
    itself. size_px: (height, width) the program saw, None when it does not say. embedded: gives the
    bytes of the image where the annotations hold it.
    """

    where: str
    names: tuple[str, ...]
    beside: Path
    frame: Frame | None
    size_px: tuple[int, int] | None
    objects: tuple[DrawnObject, ...]
    embedded: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How often something happened, and where it did first."""

    what: str
    count: int
    first: str


@dataclass(slots=True)
class Tally:
    """Everything that did not come through as it was, counted: nothing is left out in silence."""

    objects: dict[str, Counted] = field(default_factory=dict)
    images: dict[str, Counted] = field(default_factory=dict)
    notes: dict[str, Counted] = field(default_factory=dict)

    def drop(self, reason: str, where: str, count: int = 1) -> None:
        """Count objects that are not in the result."""
        _count(self.objects, reason, where, count)

    def image(self, reason: str, where: str) -> None:
        """Count an image that is not in the result."""
        _count(self.images, reason, where, 1)

    def drop_image(self, reason: str, drawn: Drawn, detail: str = "") -> None:
        """Count an image that is not in the result, and all its objects."""
        self.image(reason, f"{drawn.where}: {detail}" if detail else drawn.where)
        if drawn.objects:
            self.drop(f"on an image left out: {reason}", drawn.where, len(drawn.objects))

    def note(self, sentence: str, where: str, count: int = 1) -> None:
        """Count what is in the result, but not as it was."""
        _count(self.notes, sentence, where, count)


def _count(rows: dict[str, Counted], what: str, where: str, count: int) -> None:
    known = rows.get(what)
    total, first = (count, where) if known is None else (known.count + count, known.first)
    rows[what] = Counted(what=what, count=total, first=first)
