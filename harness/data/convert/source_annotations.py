"""Annotations of images as any program made them: the one form that all formats are read into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.printable import shown_text
from harness.core.run_lengths import Rle
from harness.data.fields import whole_number_of

#: x, y, x, y, … of a closed outline.
Outline = list[float]

#: (height, width) of the frame that coordinates are in.
Frame = tuple[float, float]

#: Pixels of an image or mask; Pillow refuses to decode more by default.
LARGEST_PX = 178_956_970

PERCENT: Frame = (100.0, 100.0)
UNIT: Frame = (1.0, 1.0)

#: Characters of a place that a report shows: a path and some more, never a whole embedded image.
SHOWN_PLACE = 300


def stated_size(height: Any, width: Any) -> tuple[int, int] | None:
    """(height, width) in px of whole numbers, also as text; None unless an image can have them."""
    try:
        size = whole_number_of(height), whole_number_of(width)
    except ValueError:
        return None
    is_possible = min(size) > 0 and max(size) <= LARGEST_PX and size[0] * size[1] <= LARGEST_PX
    return size if is_possible else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """One object as its annotator drew it."""

    category: str
    """Its label, as in the file."""

    where: str
    """File and place in it, as a report names it."""

    outlines: tuple[Outline, ...] = ()
    """Its parts in the frame of the image, x to the right and y down; they may leave it."""

    mask: Rle | None = None
    """A mask of the whole image in any resolution; None for outlines."""

    is_box: bool = False
    """The outlines have four corners: the object's position, not the pixels it covers."""

    crowd: bool = False
    """Many objects annotated as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAnnotations:
    """One image and what was annotated on it."""

    where: str
    """File and place in it, as a report names it."""

    names: tuple[str, ...]
    """What the image may be called, the likeliest first, with any slashes, also as an address."""

    beside: Path
    """The folder those names are relative to."""

    frame: Frame | None
    """What coordinates are measured in; None for the pixels of the image itself."""

    size_px: tuple[int, int] | None
    """(height, width) the program saw; None when it is not stated."""

    objects: tuple[SourceObject, ...]
    """The objects, none for an image that was looked at and has none."""

    own_stem: str | None = None
    """Of formats with a file an image: the name of that file without its ending."""

    embedded: Callable[[], bytes] | None = None
    """Returns the bytes of the image where the annotations hold it; ValueError when damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How often something happened, and where it did first."""

    what: str
    """A phrase, such as ``without a category``."""

    count: int
    """How many objects, images or files."""

    first: str
    """The place of the first one."""


@dataclass(slots=True)
class Tally:
    """Everything that was left out or changed, counted: nothing is left out in silence."""

    objects: dict[str, Counted] = field(default_factory=dict)
    """Objects that are not in the result, by reason."""

    images: dict[str, Counted] = field(default_factory=dict)
    """Images that are not in the result, by reason."""

    notes: dict[str, Counted] = field(default_factory=dict)
    """What is in the result, but not as it was."""

    def drop(self, reason: str, where: str, count: int = 1) -> None:
        """Count objects that are not in the result.

        Args:
            reason: A phrase, such as ``without a category``.
            where: File and place of the first of them.
            count: How many.
        """
        _count(self.objects, reason, where, count)

    def image(self, reason: str, where: str) -> None:
        """Count an image that is not in the result.

        Args:
            reason: A phrase.
            where: File and place.
        """
        _count(self.images, reason, where, 1)

    def drop_image(self, reason: str, source: SourceAnnotations, detail: str = "") -> None:
        """Count an image that is not in the result, and all its objects.

        Args:
            reason: A phrase.
            source: The image's annotations.
            detail: Put behind the place in the report.
        """
        self.image(reason, f"{source.where}: {detail}" if detail else source.where)
        if source.objects:
            self.drop(f"on an image left out: {reason}", source.where, len(source.objects))

    def note(self, sentence: str, where: str, count: int = 1) -> None:
        """Count what is in the result, but not as it was.

        Args:
            sentence: What was changed.
            where: File and place of the first change.
            count: How many.
        """
        _count(self.notes, sentence, where, count)


def _count(rows: dict[str, Counted], what: str, where: str, count: int) -> None:
    known = rows.get(what)
    where, what = shown_text(where, SHOWN_PLACE), shown_text(what, SHOWN_PLACE)
    total, first = (count, where) if known is None else (known.count + count, known.first)
    rows[what] = Counted(what=what, count=total, first=first)
