"""Why a file is not JSON, in words that say what to do: the parser's own name a character."""

from __future__ import annotations

import json
from typing import NamedTuple


class Fault(NamedTuple):
    """What is wrong with a file."""

    reason: str
    """The end of "FILE is not JSON: …"."""
    hint: str | None
    """What to do; None where that is not known."""


#: What other files begin with, and what they are.
BEGINNINGS = (
    (b"\x1f\x8b", "it is compressed with gzip", "unpack it: gunzip"),
    (b"PK\x03\x04", "it is a zip archive", "unpack it"),
    (b"<", "it is XML or a web page", "was a page of a server saved in its place?"),
    (b"//", "it begins with a comment", "JSON has no comments: leave them out"),
    (b"/*", "it begins with a comment", "JSON has no comments: leave them out"),
    (b"#", "it begins with a comment", "JSON has no comments: leave them out"),
)


def fault_of(content: bytes, error: Exception) -> Fault:
    """What is wrong with the content of a file.

    Args:
        content: Content of the file.
        error: What ``json.loads`` raised for it.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return Fault("it is empty", "make it, or fetch it, once more")
    for beginning, reason, hint in BEGINNINGS:
        if text.startswith(beginning):
            return Fault(reason, hint)
    if isinstance(error, RecursionError):
        return Fault("its lists are in lists without end", None)
    if isinstance(error, UnicodeDecodeError):
        return Fault(str(error), "save it as UTF-8")
    if not isinstance(error, json.JSONDecodeError):  # the limit on digits
        return Fault("it has a number of thousands of digits", None)
    return _fault_at(error)


def _fault_at(error: json.JSONDecodeError) -> Fault:
    """What is wrong where the parser stopped."""
    rest, before = error.doc[error.pos :].lstrip(), error.doc[: error.pos].rstrip()
    where = f"{error.msg}: line {error.lineno} column {error.colno} (char {error.pos})"
    if not rest or error.msg.startswith("Unterminated string"):
        return Fault(where, "it ends in the middle: make it, or fetch it, once more")
    if before.endswith(",") and rest[0] in "]}":
        return Fault(where, f"leave out the comma before {rest[0]}")
    if rest[0] == "," and rest[1:].lstrip()[:1] in ("]", "}"):  # as newer parsers place it
        return Fault(where, f"leave out the comma before {rest[1:].lstrip()[0]}")
    if rest[0] == "'":
        return Fault(where, 'text needs double quotes, "…": json.dump writes them, print does not')
    if rest.startswith(("//", "/*", "#")):
        return Fault(where, "JSON has no comments: leave them out")
    if error.msg == "Extra data" and before.endswith("}") and rest[0] == "{":
        return Fault(where, "it looks like JSON Lines: put the lines between [ and ], with commas")
    return Fault(where, None)
