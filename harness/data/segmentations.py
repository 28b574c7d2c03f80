"""Masks of annotation and prediction files: which are valid, and their canonical form.

Whatever passes here may be handed to code in C: its runs cover the image, its polygons are near it,
its text is spelled as pycocotools spells it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from harness.core.rle_text import canonical, parse, sums_of, without_empty
from harness.core.shown import shown
from harness.measure.masks import drawing_fault, run_lengths

NUMBERS = frozenset((int, float))


def finite(numbers: Any) -> bool:
    """True for a list of numbers, none NaN, infinite, a truth value or too long for a float."""
    try:
        return NUMBERS.issuperset(map(type, numbers)) and math.isfinite(sum(numbers))
    except (TypeError, OverflowError):
        return False


def whole(value: Any) -> int | None:
    """A number without a fraction as an integer; None for anything else.

    1.0 is 1, as it is for pycocotools; a float beyond 2⁵³ may stand for several integers.
    """
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return None


def segmentation_fault(segmentation: Any, height_px: int, width_px: int) -> str | None:
    """Why a segmentation is invalid, as the end of a sentence; None when it is valid.

    Run lengths that do not add up to the image are an error: evaluators never return from them.

    Args:
        segmentation: As parsed from JSON; None for an object without a mask.
        height_px: Of its image.
        width_px: Of its image.
    """
    match segmentation:
        case None:
            return None
        case list():
            return _polygons_fault(segmentation)
        case {"size": size, "counts": str() | list() as counts}:
            fault = _size_fault(size, height_px, width_px)
            if fault is not None:
                return fault
            runs = run_lengths(counts if isinstance(counts, str) else _integers(counts))
            total = -1 if runs is None else sum(runs)
            fits = total == height_px * width_px
            return None if fits else _runs_fault(counts, total, height_px, width_px)
        case _:
            return f"has the segmentation {shown(segmentation)}; expected polygons or run lengths"


def _polygons_fault(segmentation: list[Any]) -> str | None:
    if not all(isinstance(one, list | array) and finite(one) for one in segmentation):
        return "has a segmentation that is no list of polygons of finite numbers"
    return drawing_fault(segmentation)


def _size_fault(size: Any, height_px: int, width_px: int) -> str | None:
    if not isinstance(size, list) or [whole(side) for side in size] != [height_px, width_px]:
        turned = size == [width_px, height_px]
        return f"has a mask of size {shown(size)} in an image of {[height_px, width_px]}" + (
            ": a size is height and width, in this order" if turned else ""
        )
    return None


def _runs_fault(counts: Any, total: int, height_px: int, width_px: int) -> str:
    found = "no run lengths" if total < 0 else f"run lengths of {total} px"
    fault = f"has {found} for a mask of {height_px} × {width_px} px"
    if isinstance(counts, str) and counts.startswith(("b'", 'b"')):
        return f"{fault}: its counts are how Python prints bytes; write counts.decode('ascii')"
    return fault


def _integers(counts: Sequence[Any]) -> list[Any]:
    """Run lengths without needless fractions."""
    return [count if type(count) is int else whole(count) for count in counts]


class Masks:
    """Segmentations of many rows: checked as they come, their texts all at once in the end."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._rows: list[tuple[int, dict[str, Any], int, int]] = []

    def fault(
        self, position: int, row: dict[str, Any], height_px: int, width_px: int
    ) -> str | None:
        """What is wrong with the segmentation of a row; None when nothing is, as far as was looked.

        Puts sizes and lists of run lengths into their canonical form.

        Args:
            position: Of the row, for ``text_fault``.
            row: Of an annotation or prediction; without a segmentation nothing is wrong.
            height_px: Of its image.
            width_px: Of its image.
        """
        segmentation = row.get("segmentation")
        if isinstance(segmentation, list):
            return _polygons_fault(segmentation)
        if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
            return segmentation_fault(segmentation, height_px, width_px)
        size, counts = segmentation["size"], segmentation["counts"]
        if not isinstance(counts, str):
            fault = segmentation_fault(segmentation, height_px, width_px)
            if fault is None:
                runs = without_empty(_integers(counts))
                row["segmentation"] = {"size": [height_px, width_px], "counts": runs}
            return fault
        if size != [height_px, width_px] or type(size[0]) is not int or type(size[1]) is not int:
            fault = _size_fault(size, height_px, width_px)
            if fault is not None:
                return fault
            row["segmentation"] = {"size": [height_px, width_px], "counts": counts}
        self._texts.append(counts)
        self._rows.append((position, row, height_px, width_px))
        return None

    def text_fault(self) -> tuple[int, str] | None:
        """The first row, by its position, whose text is wrong, and how; None when all are right.

        Where all are right, every text is canonical then.
        """
        if not self._texts:
            return None
        runs = parse(self._texts)
        sums = sums_of(runs)
        sums[~runs.readable] = -1
        for (position, _, height_px, width_px), text, total in zip(
            self._rows, self._texts, sums.tolist(), strict=True
        ):
            if total != height_px * width_px:
                return position, _runs_fault(text, total, height_px, width_px)
        for (_, row, _, _), was, text in zip(
            self._rows, self._texts, canonical(self._texts, runs), strict=True
        ):
            if text is not was:
                row["segmentation"] = {"size": row["segmentation"]["size"], "counts": text}
        return None
