"""Requests out of settings: composed from flat values, checked, and read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import UsageError
from harness.core.settings import (
    check_settings,
    compose,
    flat_settings,
    flatten,
    identity_of,
    part,
    recalled,
    recorded,
    replaced,
    setting,
    signature_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    group: ClassVar[str] = "small things"
    size_px: int | None = setting(None, help="size", none="as it is", unit="px", minimum=32)
    share: float = setting(0.5, help="share", above=0, maximum=1)
    mode: Literal["slow", "fast"] = setting("fast", help="mode")
    fast: bool = setting(False, help="be fast", numbers=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    deep: bool = setting(False, help="go deep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    file: Path = setting(help="the file", positional=True)
    small: Small = part(Small, changed={"mode": {"help": "of work"}}, share=0.25)
    inner: Small = part(Inner, nested=True)
    sizes: tuple[int, ...] = setting((1, 2), help="sizes", minimum=1)
    output: Path | None = setting(None, help="folder", none="results", numbers=False)


def test_every_leaf_is_a_setting_with_its_own_facts() -> None:
    by_name = {one.name: one for one in flat_settings(Request)}
    assert list(by_name) == [
        "file",
        "size_px",
        "share",
        "mode",
        "fast",
        "deep",
        "sizes",
        "output",
    ]
    assert by_name["size_px"].path == ("small",)
    assert by_name["size_px"].flag == "--size"
    assert by_name["size_px"].description == "size (in px; default: as it is)"
    assert by_name["share"].default == 0.25
    assert by_name["mode"].help == "of work"
    assert by_name["mode"].choices == ("slow", "fast")
    assert by_name["fast"].group == "small things"
    assert by_name["sizes"].description == "sizes (default: 1,2)"
    assert by_name["file"].required


def test_composed_and_flattened_again() -> None:
    values = {"file": "a.json", "size_px": 64, "sizes": [3], "share": 1}
    request = compose(Request, values)
    assert request.small == Small(size_px=64, share=1.0)
    assert isinstance(request.small.share, float)
    assert request.file == Path("a.json")
    assert request.sizes == (3,)
    assert compose(Request, flatten(request)) == request


@given(
    st.fixed_dictionaries(
        {"file": st.just("f")},
        optional={
            "size_px": st.none() | st.integers(32, 4000),
            "share": st.floats(0.01, 1),
            "mode": st.sampled_from(["slow", "fast"]),
            "fast": st.booleans(),
            "sizes": st.lists(st.integers(1, 9)),
            "output": st.none() | st.just("out"),
        },
    )
)
def test_what_is_recorded_is_recalled(values: dict[str, Any]) -> None:
    request = compose(Request, values)
    assert recalled(Request, recorded(request)) == request
    assert compose(Request, flatten(request)) == request
    check_settings(request)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size_pix": 64}, "unknown setting 'size_pix'; did you mean size_px?"),
        ({"size_px": 31}, "--size must be at least 32, got 31 px"),
        ({"size_px": 64.5}, "--size must be a whole number, got 64.5"),
        ({"size_px": True}, "--size must be a whole number, got True"),
        ({"share": 0}, "--share must be above 0 and at most 1, got 0"),
        ({"share": float("nan")}, "--share must be above 0 and at most 1, got nan"),
        ({"share": None}, "--share needs a value"),
        ({"mode": "fats"}, "--mode must be one of slow, fast, got 'fats'; did you mean fast?"),
        ({"sizes": 3}, "--sizes must be a list, got 3"),
        ({"sizes": [0]}, "--sizes must be at least 1, got 0"),
        ({"sizes": "12"}, "--sizes must be a list, got '12'"),
        ({"fast": 1}, "--fast must be true or false, got 1"),
        ({"output": ""}, "--output must name a file or folder"),
        ({"file": 3}, "FILE must be a path, got 3"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        compose(Request, {"file": "f", **values})
    assert words in str(raised.value)


def test_what_is_needed_is_asked_for() -> None:
    with pytest.raises(UsageError, match="FILE is missing"):
        compose(Request, {})


def test_a_part_refuses_what_it_is_without() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Fewer:
        small: Small = part(Small, without=("fast",))

    with pytest.raises(UsageError, match="unknown setting 'fast'"):
        compose(Fewer, {"fast": True})


def test_defaults_of_places_and_names() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Placed:
        root: Path = setting(Path("datasets"), help="data", place="datasets")

    places = {"datasets": Path("/data"), "results": Path("/results")}
    assert compose(Placed, {}, defaults=places).root == Path("/data")
    assert compose(Placed, {"root": "here"}, defaults=places).root == Path("here")


def test_replaced_by_flat_names() -> None:
    request = compose(Request, {"file": "f"})
    assert replaced(request, size_px=99).small.size_px == 99
    with pytest.raises(UsageError, match="did you mean share"):
        replaced(request, shares=1)


def test_only_settings_that_change_numbers_identify() -> None:
    assert set(identity_of(compose(Request, {"file": "f"}))) == {
        "file",
        "size_px",
        "share",
        "mode",
        "deep",
        "sizes",
    }


def test_an_older_record_is_recalled_with_defaults() -> None:
    record = {"file": "f", "size_px": None, "inner": {"deep": True}}
    assert recalled(Request, record) == compose(Request, {"file": "f", "deep": True})


def test_the_signature_has_types_and_defaults() -> None:
    signature = signature_of(Request)
    assert list(signature.parameters) == [one.name for one in flat_settings(Request)]
    assert signature.parameters["share"].default == 0.25
    assert all(one.kind is one.KEYWORD_ONLY for one in signature.parameters.values())


def test_a_name_is_unique() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Twice:
        first: Small = part(Small)
        second: Small = part(Small)

    with pytest.raises(TypeError, match="two settings called"):
        flat_settings(Twice)
