"""Data sets in tables: categories, and what was left out or changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from harness.report.tables import shortened

#: Categories shown in a table; --json has all of them.
SHOWN_CATEGORIES = 100

#: Width of a file's name above its column.
LONGEST_HEADING = 16

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


class HasCounts(Protocol):
    """A category and how many objects it has."""

    @property
    def category_id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def objects(self) -> int: ...
    @property
    def boxes(self) -> int: ...


class HasReason(Protocol):
    """Something that happened, how often, and where first."""

    @property
    def what(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def first(self) -> str: ...


def category_rows(categories: Sequence[HasCounts]) -> Table:
    """A row a category; the column of boxes only where there are objects without a mask."""
    columns: tuple[str, ...] = ("id", "category", "objects", "of them boxes only")
    rows: list[tuple[str, ...]] = [
        (str(one.category_id), one.name, f"{one.objects:,}", f"{one.boxes:,}")
        for one in categories[:SHOWN_CATEGORIES]
    ]
    hidden = categories[SHOWN_CATEGORIES:]
    if hidden:
        objects, boxes = sum(one.objects for one in hidden), sum(one.boxes for one in hidden)
        rows.append(("…", f"{len(hidden)} more (--json)", f"{objects:,}", f"{boxes:,}"))
    if not any(one.boxes for one in categories):
        return columns[:3], [row[:3] for row in rows]
    return columns, rows


class HasCategories(Protocol):
    """An annotation file that was written."""

    @property
    def path(self) -> Path: ...
    @property
    def image_count(self) -> int: ...
    @property
    def object_count(self) -> int: ...
    @property
    def categories(self) -> Sequence[HasCounts]: ...


def written_rows(files: Sequence[HasCategories]) -> Table:
    """A row a category and one each for all objects and images, a column a file."""
    names = {one.category_id: one.name for file in files for one in file.categories}
    counts = [{one.category_id: one.objects for one in file.categories} for file in files]
    shown = list(names)[:SHOWN_CATEGORIES]
    rows: list[tuple[str, ...]] = [
        (str(number), names[number], *(f"{count.get(number, 0):,}" for count in counts))
        for number in shown
    ]
    if len(names) > len(shown):
        rows.append(("…", f"{len(names) - len(shown)} more (--json)", *("…" for _ in files)))
    rows.append(("", "all objects", *(f"{file.object_count:,}" for file in files)))
    rows.append(("", "images", *(f"{file.image_count:,}" for file in files)))
    headings = (shortened(file.path.stem, LONGEST_HEADING) for file in files)
    return ("id", "category", *headings), rows


def left_out_rows(
    images: Sequence[HasReason], objects: Sequence[HasReason], notes: Sequence[HasReason]
) -> Table:
    """A row a reason: images left out, objects left out, and what is kept but changed."""
    rows: list[tuple[str, ...]] = [
        ("images left out", str(one.count), one.what, one.first) for one in images
    ]
    rows += [("objects left out", str(one.count), one.what, one.first) for one in objects]
    rows += [("note", str(one.count), one.what, one.first) for one in notes]
    return ("what", "count", "why", "example"), rows
