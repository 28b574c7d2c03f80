"""JSON without NaN, and the way between frozen dataclasses and JSON files.

A NaN in a record would come back as something else in another language, or as a silent zero:
"could not be computed" is None with a reason, never NaN.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

from harness import __version__
from harness.core.errors import IntegrityError
from harness.core.garbage_collection import collector_paused
from harness.core.printable import shown
from harness.files.readable import read_bytes

T = TypeVar("T")

#: At most so many keys are named that there are instead of an unknown one.
MOST_KEYS_NAMED = 12


def dumps(value: Any, *, indent: int | None = None) -> str:
    """``value`` as JSON text that can be written as UTF-8.

    Text with half characters, as names of files that are not UTF-8 have, is escaped: it comes back
    as it was.

    Raises:
        ValueError: On NaN or infinity.
    """
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        value, allow_nan=False, ensure_ascii=False, indent=indent, separators=separators
    )
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, indent=indent, separators=separators)
    return text


#: Sizes from and below which ``dump_usual`` writes floating-point numbers as ``dumps`` does.
USUAL = (1e-4, 1e15)


def dump_usual(value: Any) -> bytes:
    """The bytes of ``dumps``, in a quarter of the time.

    Args:
        value: Its floating-point numbers are 0, or of sizes in ``USUAL``: exponents are written
            in another way. Its text can be written as UTF-8.
    """
    from pydantic_core import to_json

    return to_json(value)


def parse_strictly(content: bytes) -> Any:
    """What ``json.loads`` makes of the content, in half the time; NaN and infinity are refused.

    Raises:
        ValueError: It is not JSON.
        RecursionError: Its lists are in lists without end.
    """
    from pydantic_core import from_json

    try:
        return from_json(content, allow_inf_nan=False, cache_strings="keys")
    except ValueError:  # or half characters, which Python's text can have and this one's cannot
        return json.loads(content, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and infinity, which are not JSON.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{constant} is not JSON")


def read(path: Path, *, convert: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parse a JSON file.

    Args:
        path: The file.
        convert: As in ``read_with_digest``.

    Raises:
        UsageError: It is not there or cannot be read.
        IntegrityError: It is not JSON.
    """
    return parse(path, read_bytes(path), convert)


def read_with_digest(
    path: Path, *, convert: Callable[[dict[str, Any]], Any] | None = None
) -> tuple[Any, str]:
    """The parsed content of a file and the hash of the same bytes, which are read once.

    Args:
        path: The file.
        convert: Called with every object when it is parsed, innermost first; what it returns takes
            the place of the object. It can keep an object small before the next one is parsed.

    Returns:
        The content, and the sha256 of the file in hexadecimal.

    Raises:
        UsageError: The file cannot be read.
        IntegrityError: It is not JSON.
    """
    content = read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    return parse(path, content, convert), digest


def parse(
    path: Path, content: bytes, convert: Callable[[dict[str, Any]], Any] | None = None
) -> Any:
    """Parse the content of a JSON file.

    Args:
        path: Path of the file, for the error.
        content: Content of the file.
        convert: As in ``read_with_digest``.

    Raises:
        IntegrityError: It is not JSON.
    """
    try:
        with collector_paused():
            return json.loads(content, object_hook=convert)
    except (ValueError, RecursionError) as error:  # also bytes that are not text, endless nesting
        fault = fault_of(content, error)
        raise IntegrityError(f"{path} is not JSON: {fault.reason}", hint=fault.hint) from error


def to_plain(value: Any) -> Any:
    """Turn a dataclass (nested, with paths and enums) into dicts, lists, strings and numbers.

    Halves of characters become escapes, as in paths that are not UTF-8.
    """
    from pydantic_core import to_jsonable_python

    try:
        return to_jsonable_python(value)
    except UnicodeEncodeError:
        return to_jsonable_python(_encodable(value))


def _encodable(value: Any) -> Any:
    """The same with escapes for halves of characters, in paths and text at any depth."""
    if isinstance(value, (str, Path)) and not isinstance(value, Enum):
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(one) for one in value]
    if is_dataclass(value):
        return {one.name: _encodable(getattr(value, one.name)) for one in fields(value)}
    return value


def to_typed(kind: type[T], plain: Any, *, where: str) -> T:
    """Make an instance of a dataclass, every field validated; unknown keys are errors.

    Args:
        kind: The dataclass.
        plain: Dicts, lists, strings and numbers, as JSON or TOML gives them.
        where: What they come from, for the error.

    Raises:
        IntegrityError: Names ``where`` and every field that does not fit.
    """
    from pydantic import ValidationError

    try:
        typed: T = _adapter_of(cast(Any, kind)).validate_python(plain)
    except ValidationError as error:
        faults = [
            f"{_dotted(fault['loc']) or '(root)'}: {_of_files(fault['msg'])}"
            for fault in error.errors()
        ]
        raise _misfit(where, plain, faults) from error
    # pydantic drops unknown keys of standard dataclasses; whatever did not come through is one. It
    # takes true for 1, and "8" for 8; who writes that means something else.
    after = to_plain(typed)
    faults = [*_lost_keys(plain, after), *_turned_values(plain, after)]
    if faults:
        raise _misfit(where, plain, faults)
    return typed


@cache
def _adapter_of(kind: Any) -> Any:
    """What validates instances of a dataclass: to make it takes longer than to use it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def schema_of(kind: type[Any]) -> dict[str, Any]:
    """The JSON Schema of a dataclass; like ``to_typed`` it allows no unknown key."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(kind).json_schema()
    for definition in (schema, *schema.get("$defs", {}).values()):
        if "properties" in definition:
            definition["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _lost_keys(before: Any, after: Any, path: tuple[str | int, ...] = ()) -> Iterator[str]:
    """A sentence for each key of ``before`` that ``after`` lacks, at any depth."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{_dotted((*path, key))}: {UNKNOWN}{_meant(str(key), after)}"
            else:
                yield from _lost_keys(value, after[key], (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for position, (first, second) in enumerate(zip(before, after, strict=True)):
            yield from _lost_keys(first, second, (*path, position))


def _turned_values(before: Any, after: Any, path: tuple[str | int, ...] = ()) -> Iterator[str]:
    """A sentence for each truth value, number or text that became one of the others."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            yield from _turned_values(before[key], after[key], (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for position, (first, second) in enumerate(zip(before, after, strict=False)):
            yield from _turned_values(first, second, (*path, position))
    elif (found := _word_of(before)) and (expected := _word_of(after)) and found != expected:
        got = str(before).lower() if isinstance(before, bool) else shown(before)
        yield f"{_dotted(path)}: Input should be {expected}, got {got}"


def _word_of(value: Any) -> str | None:
    """What kind of value it is; None for what is neither truth value, number nor text."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a text" if isinstance(value, str) else None


def _meant(typed: str, allowed: Iterable[str]) -> str:
    """The end of a sentence on what is unknown: the one that is like it, else those there are."""
    from difflib import get_close_matches

    names = [str(one) for one in allowed]
    if near := get_close_matches(typed, names, n=1):
        return f"; did you mean {near[0]}?"
    few = ", ".join(names[:MOST_KEYS_NAMED]) + (" …" if len(names) > MOST_KEYS_NAMED else "")
    return f"; there are: {few}" if names else ""


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path)


#: Keys of a file that harness wrote: the version of its schema, and of harness.
SCHEMA, WRITER = "schema_version", "harness_version"

#: Of a key that a file has and its schema does not.
UNKNOWN = "unknown key"


def _misfit(where: str, plain: Any, faults: list[str]) -> IntegrityError:
    message = f"{where} does not fit its schema:\n  " + "\n  ".join(faults)
    return IntegrityError(message, hint=_newer(plain, faults))


def _of_files(message: str) -> str:
    """What pydantic says, with what Python's tuples are called in files."""
    return message.replace("valid tuple", "valid list")


def _newer(plain: Any, faults: list[str]) -> str | None:
    """What to do about a file that a newer version may have written; None where none can have.

    What an older one wrote is read: a key that it did not know has a default.
    """
    if not isinstance(plain, dict) or not {SCHEMA, WRITER} & plain.keys():
        return None
    newer = any(one.startswith(f"{SCHEMA}: Input") or UNKNOWN in one for one in faults)
    if not newer and plain.get(WRITER, __version__) == __version__:  # it was edited by hand
        return None
    says = f" (it says {shown(plain[WRITER])})" if WRITER in plain else ""
    return (
        f"it may be of a newer version of harness{says}: use that one, or make the file again "
        "with this one"
    )


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """One line for each key whose value there (found) is not the one now (expected)."""
    return [
        f"{key}: {found.get(key)} there, {expected.get(key)} now"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]


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
