"""Text of others (names, responses of servers, messages) made harmless to show, and short.

A terminal obeys control characters: they rewrite lines, the title and the clipboard. Spreadsheets
run cells as formulas, and Markdown renders markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: C0 and C1 controls but tab and newline, line and paragraph separators, characters that reverse
#: the direction of text, invisible ones, and halves of characters, which no output can encode.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

SPACES = re.compile(r"[\t\n]+")

#: What begins a formula in a spreadsheet, in East Asian ones also in full width.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")

#: What Markdown and HTML in it read as markup.
MARKUP = re.compile(r"([\\`*\[\]|<>])")


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with what it counts: "1 object", "5,000 objects".

    Args:
        number: How many there are.
        noun: Noun in the singular; with its verb where there is one, as in "image has".
        nouns: Noun in the plural; None adds an "s".
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def printable(text: str) -> str:
    """Replace control characters by their escapes; newlines and tabs stay."""
    return UNPRINTABLE.sub(_escaped, text)


def one_line(text: str) -> str:
    """Replace control characters by their escapes, and newlines and tabs by a space."""
    return printable(SPACES.sub(" ", text))


def printable_json(text: str) -> str:
    """Replace control characters in JSON text by escapes of JSON, so that it says the same."""
    return UNPRINTABLE.sub(_json_escaped, text)


def markdown_cell(text: str) -> str:
    """Make text one line without markup, also inside a table."""
    return MARKUP.sub(r"\\\1", one_line(text))


def markdown_block(text: str) -> str:
    """Make text a code block that nothing in it can end."""
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * max(3, *(length + 1 for length in runs)) if runs else "```"
    return f"{fence}\n{printable(text)}\n{fence}"


def spreadsheet_cell(text: str) -> str:
    """Make text one line that a spreadsheet shows: an apostrophe before what begins a formula."""
    shown = one_line(text)
    is_formula = text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)
    return f"'{shown}" if is_formula else shown


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def ascii_json(text: str) -> str:
    """JSON text in ASCII alone, with the same content.

    Args:
        text: JSON.
    """
    return re.sub(r"[^\x00-\x7f]", _json_escaped, text)


def _json_escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 1 << 16:
        return f"\\u{code:04x}"
    code -= 1 << 16
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


#: Characters of a value that a message shows.
SHOWN = 60


def shown(value: Any, most: int = SHOWN) -> str:
    """A value as a message shows it; the work does not grow with what is cut off.

    Args:
        value: A JSON value: text, numbers, lists and tables; of anything else only its type is
            shown.
        most: Characters at most.
    """
    text = _text(value, most)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown_text(text: str, most: int = SHOWN) -> str:
    """Text without quotes, with escapes for what is not a letter, digit, sign or space."""
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
