"""Flags, numbers and lists of labels as annotation files write them, read in one place.

Programs write a flag as true, 1, 1.0, "1" or "True"; Python's own truth would make "0" and "False"
true. What has no plain meaning is a ValueError; whoever reads the row names it.
"""

from __future__ import annotations

import math
from typing import Any

from harness.core.printable import shown

YES = frozenset(("1", "1.0", "true", "yes", "y", "t"))
NO = frozenset(("0", "0.0", "false", "no", "n", "f", ""))

#: Digits of a whole number as text; an id of 64 bits has 19.
MOST_DIGITS = 60


def flag_of(value: Any) -> bool:
    """The value of a flag: a boolean, 0 and 1 as numbers or text, yes and no; None is False.

    Raises:
        ValueError: It is anything else.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, (int, float)) and value in (0, 1):
        return value == 1
    if isinstance(value, str):
        word = value.strip().casefold()
        if word in YES | NO:
            return word in YES
    raise ValueError(f"{shown(value)} is neither yes nor no")


def number_of(value: Any) -> float:
    """A finite number, or the one that a text spells.

    Raises:
        ValueError: It is anything else: a boolean, NaN, infinite, a list.
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        # Python's float() also reads "1_000", which no annotation file means.
        if math.isfinite(number) and not (isinstance(value, str) and "_" in value):
            return number
    raise ValueError(f"{shown(value)} is not a finite number")


def whole_number_of(value: Any) -> int:
    """A whole number, also where it is written 2.0 or "2".

    Raises:
        ValueError: It is anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if (
        isinstance(value, str)
        and value.strip().lstrip("+-").isdecimal()
        and len(value) < MOST_DIGITS
    ):
        return int(value)
    number = number_of(value)
    if number != int(number):
        raise ValueError(f"{shown(value)} is not a whole number")
    return int(number)


def labels_of(value: Any) -> list[str]:
    """The labels of a list of text, or of one label that is not in a list; none of None.

    Raises:
        ValueError: It is anything else; a text is never taken letter by letter.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise ValueError(f"{shown(value)} is not a list of labels")
