"""Values from files as messages show them: short, and with nothing that a terminal would obey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Characters of a value that a message shows.
SHOWN = 60


def shown(value: Any, most: int = SHOWN) -> str:
    """A value as a message shows it; the work does not grow with what is cut off.

    Args:
        value: Of JSON: text, numbers, lists and tables; of anything else only its type is shown.
        most: Characters at most.
    """
    text = _text(value, most)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def printable(text: str, most: int = SHOWN) -> str:
    """Text without quotes, with escapes for what is no letter, digit, sign or space."""
    cut = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
        for one in text[: most + 1]
    )
    return cut if len(cut) <= most else f"{cut[: most - 1]}…"


def _text(value: Any, most: int, depth: int = 3) -> str:
    """At least as much of the value's text as is shown."""
    match value:
        case str() | bytes():
            return repr(value[: most + 1])
        case bool() | float() | None:
            return repr(value)
        case int():
            long = value.bit_length() > 4 * most
            return f"an integer of {value.bit_length()} bits" if long else repr(value)
        case list():
            return f"[{_joined(((None, one) for one in value), most, depth)}]"
        case tuple():
            return f"({_joined(((None, one) for one in value), most, depth)})"
        case Mapping():
            return f"{{{_joined(value.items(), most, depth)}}}"
        case _:
            return type(value).__name__


def _joined(pairs: Iterable[tuple[Any, Any]], most: int, depth: int) -> str:
    """Values, or keys and values, until there are enough.

    Args:
        depth: How many lists in lists.
    """
    parts: list[str] = []
    length = 0
    for key, value in pairs:
        if depth == 0 or length > most:
            parts.append("…")
            break
        one = _text(value, most, depth - 1)
        parts.append(one if key is None else f"{_text(key, most, 0)}: {one}")
        length += len(parts[-1]) + 2
    return ", ".join(parts)
