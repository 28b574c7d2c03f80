"""Typed values and JSON: nothing unknown, nothing that is not a number."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import IntegrityError, UsageError
from harness.data.text_files import read_json as read_user_json
from harness.files.json import dumps, parse_strictly, read, schema_of, to_plain, to_typed


class Colour(str, Enum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    value: float | None
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    version: Literal[1] = 1
    leaf: Leaf
    more: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    path: Path = Path("here")


PLAIN: dict[str, Any] = {
    "version": 1,
    "leaf": {"value": 1.5, "colour": "red"},
    "more": [{"value": None, "colour": "red"}],
    "by_name": {"a b": {"value": 2.0, "colour": "red"}},
    "anything": {"free": [{"form": 1}]},
    "path": "there",
}


def test_there_and_back() -> None:
    typed = to_typed(Tree, PLAIN, where="x")
    assert typed.more == (Leaf(value=None),)
    assert typed.path == Path("there")
    assert to_plain(typed) == PLAIN


LEAVES = st.builds(Leaf, value=st.none() | st.floats(allow_nan=False, allow_infinity=False))


@given(
    st.builds(
        Tree,
        leaf=LEAVES,
        more=st.lists(LEAVES).map(tuple),
        by_name=st.dictionaries(st.text(), LEAVES),
        path=st.just(Path("x")),
    )
)
def test_whatever_is_written_is_read_as_the_same(tree: Tree) -> None:
    import json

    assert to_typed(Tree, json.loads(dumps(to_plain(tree))), where="x") == tree


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "colour: unknown key"),
        ({"leaf": {"value": 1, "color": "red"}}, "leaf.color: unknown key; did you mean colour"),
        ({"more": [{"value": 1}, {"value": 1, "x": 2}]}, "more.1.x: unknown key; there are: "),
        ({"by_name": {"k": {"value": 1, "x": None}}}, "by_name.k.x: unknown key"),
        ({"leaf": {}}, "leaf.value: Field required"),
        ({"leaf": {"value": "many"}}, "leaf.value.*number"),
        ({"leaf": {"value": 1, "colour": "blue"}}, "leaf.colour: Input should be 'red'"),
        ({"version": 2}, "version: Input should be 1"),
        ({"more": {}}, "more: Input should be a valid list"),
        ({"version": True}, "version: Input should be (1|a number, got true)"),
        ({"leaf": {"value": True}}, "leaf.value: Input should be a number, got true"),
        ({"leaf": {"value": "1.5"}}, "leaf.value: Input should be a number, got '1.5'"),
        ({"more": [{"value": False}]}, "more.0.value: Input should be a number, got false"),
        ({"by_name": {"k": {"value": False}}}, "by_name.k.value: Input should be a number, got f"),
    ],
)
def test_misfits_are_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(IntegrityError, match=f"tree.json does not fit its schema:\n  {complaint}"):
        to_typed(Tree, {**PLAIN, **change}, where="tree.json")


def test_every_misfit_is_named_at_once() -> None:
    with pytest.raises(IntegrityError, match=r"(?s)version: .*leaf\.value: "):
        to_typed(Tree, {**PLAIN, "version": 2, "leaf": {}}, where="x")


@pytest.mark.parametrize("plain", [None, [], "text", 3])
def test_what_is_no_object_at_all(plain: Any) -> None:
    with pytest.raises(IntegrityError, match=r"\(root\): "):
        to_typed(Tree, plain, where="x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_a_number_is_never_written(value: float) -> None:
    with pytest.raises(ValueError):
        dumps({"deep": [value]})


def test_the_schema_allows_no_unknown_key() -> None:
    schema = schema_of(Tree)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Leaf"]["additionalProperties"] is False
    assert schema["properties"]["anything"].get("additionalProperties", True) is True


@pytest.mark.parametrize(
    ("content", "kind", "complaint"),
    [
        (None, UsageError, "no such file"),
        (b"{", IntegrityError, "is not JSON"),
        (b"\xff", IntegrityError, "is not JSON"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, content: bytes | None, kind: type[Exception], complaint: str
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=complaint):
        read(path)


def test_a_device_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="it is a device"):
        read(path)
    with pytest.raises(IntegrityError, match="empty"):
        read(Path(os.devnull))


FAULTS: dict[str, tuple[str | bytes, str, str]] = {
    "empty": (" \n", "it is empty", "once more"),
    "gzip": (gzip.compress(b"{}"), "compressed with gzip", "unpack it"),
    "a page": ("<!doctype html>", "a web page", "of a server"),
    "a comment first": ('// mine\n{"a": 1}', "begins with a comment", "no comments"),
    "a comment inside": ('{"a": 1,\n# mine\n"b": 2}', "line 2", "no comments"),
    "a comma too many": ('{"a": [1, 2,\n]}', "line ", "comma before ]"),
    "a comma too many at the end": ('{"a": 1,}', "line 1", "comma before }"),
    "single quotes": ("{'a': 1}", "line 1", "double quotes"),
    "cut off": ('{"a": [1, 2', "line 1", "ends in the middle"),
    "cut off in text": ('{"a": "bcd', "line 1", "ends in the middle"),
    "lines": ('{"a": 1}\n{"a": 2}\n', "Extra data", "JSON Lines"),
    "another encoding": ('{"a": "é"}'.encode("latin-1"), "can't decode byte 0xe9", "UTF-8"),
    "endless nesting": ("[" * 100_000, "lists without end", ""),
    "an endless number": ("9" * 10_000, "thousands of digits", ""),
}


@pytest.mark.parametrize("reading", [read, read_user_json])
@pytest.mark.parametrize("name", FAULTS)
def test_why_a_file_is_no_json_and_what_to_do(
    tmp_path: Path, name: str, reading: Callable[[Path], Any]
) -> None:
    content, reason, hint = FAULTS[name]
    path = tmp_path / "x.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(IntegrityError) as caught:
        reading(path)
    if reading is read or isinstance(content, str):  # the other one asks for the encoding first
        assert reason in caught.value.message
        assert hint in (caught.value.hint or "")


def test_half_characters_are_written_and_come_back(tmp_path: Path) -> None:
    value = {"file": "lat\udce9.jpg", "name": "c\ud800t é 猫"}
    path = tmp_path / "a.json"
    path.write_text(dumps(value), encoding="utf-8")
    assert read(path) == value


def outcome(function: Callable[[], Any]) -> str:
    """What a function returns, with types and signs of zeros; or that it refuses."""
    try:
        return repr(function())
    except (ValueError, RecursionError):
        return "refused"


def refuse(constant: str) -> None:
    raise ValueError(constant)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain, st.booleans())
def test_strict_parsing_is_that_of_python(value: Any, escaped: bool) -> None:
    content = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    expected = outcome(lambda: json.loads(content, parse_constant=refuse))
    assert outcome(lambda: parse_strictly(content)) == expected


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"{",
            b"[1,]",
            b"01",
            b"+1",
            b".5",
            b"1.",
            b"1e5",
            b"1E+2",
            b"-0",
            b"-0.0",
            b"1e999",
        ),
        *(b"1e999", b"NaN", b"[Infinity]", b"-Infinity", b'{"a":1,"a":2}', b'"\x01"', b'"\x7f"'),
        *(
            b"\xff",
            b'"\\ud800"',
            b'"\\ud83d\\ude00"',
            b'"\\x"',
            b"\xef\xbb\xbf1",
            "[1]".encode("utf-16"),
        ),
        *(b" [ 1 , 2 ] \n", b"[1] 2", b"true", b"True", b"9" * 60, b"[" * 500 + b"]" * 500),
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:24]),
)
def test_odd_content_is_parsed_or_refused_as_python_does(content: bytes) -> None:
    expected = outcome(lambda: json.loads(content, parse_constant=refuse))
    assert outcome(lambda: parse_strictly(content)) == expected
