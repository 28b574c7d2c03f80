"""Every setting of every request: a truth value is no number, and a number no truth value."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.core import requests
from harness.core.detections import Detections
from harness.core.errors import UsageError
from harness.core.requests.signatures import NOT_TAKEN, REQUESTS
from harness.core.settings import Setting, checked_value, flat_settings
from harness.files.toml import read_config


def every_request() -> list[type[Any]]:
    """The classes of all requests."""
    found: dict[str, type[Any]] = {}
    for one in iter_modules(requests.__path__):
        module = import_module(f"{requests.__name__}.{one.name}")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if name.endswith("Request") and kind.__module__ == module.__name__:
                found[name] = kind
    return list(found.values())


SETTINGS = [one for kind in every_request() for one in flat_settings(kind)]
NUMBERS = [one for one in SETTINGS if one.item in (int, float)]
TRUTH_VALUES = [one for one in SETTINGS if one.item is bool]


def of(one: Setting, value: Any) -> Any:
    """The value as the setting takes it: a list where it is many."""
    return [value] if one.many else value


def test_the_requests_are_found() -> None:
    assert set(REQUESTS.values()) <= set(every_request())
    assert len(NUMBERS) > 50
    assert len(TRUTH_VALUES) > 20


@given(st.sampled_from(NUMBERS), st.booleans())
def test_a_truth_value_is_no_number(one: Setting, value: bool) -> None:
    with pytest.raises(UsageError, match=r"must be a (whole )?number, got (True|False)"):
        checked_value(one, of(one, value))


@given(st.sampled_from(TRUTH_VALUES), st.sampled_from([0, 1, 1.0, "true", "yes"]))
def test_a_number_or_text_is_no_truth_value(one: Setting, value: Any) -> None:
    with pytest.raises(UsageError, match="must be true or false, got "):
        checked_value(one, of(one, value))


@pytest.mark.parametrize(
    "one", {one.name: one for one in NUMBERS}.values(), ids=lambda one: one.name
)
def test_a_truth_value_of_a_file_is_no_number(one: Setting, tmp_path: Path) -> None:
    value = "[true]" if one.many else "true"
    (tmp_path / "c.toml").write_text(f"{one.name} = {value}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"c\.toml: .* must be a (whole )?number, got True"):
        read_config(tmp_path / "c.toml", [one], command="eval")


@pytest.mark.parametrize("function", sorted(set(REQUESTS) - {"draw"}))
def test_a_truth_value_of_a_keyword_is_no_number(function: str) -> None:
    call, kind = getattr(harness, function), REQUESTS[function]
    without = NOT_TAKEN.get(function, ())
    settings = flat_settings(kind)
    own = [
        one.name
        for one in inspect.signature(inspect.unwrap(call)).parameters.values()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    ]
    # Settings are checked in their order: the required ones are given, so that none is missed.
    needed = {one.name: of(one, "x") for one in settings if one.required}
    needed |= dict.fromkeys(own, "x")
    numbers = [one for one in settings if one.item in (int, float) and one.name not in without]
    for one in numbers:
        with pytest.raises(UsageError, match=f"^{one.name} must be a (whole )?number, got True"):
            call(**{**needed, one.name: of(one, True)})


@pytest.mark.parametrize("name", ["opacity", "scale"])
def test_a_truth_value_is_no_number_of_a_drawing(name: str) -> None:
    none = Detections(
        image_id=1,
        boxes_xyxy_px=np.zeros((0, 4), dtype=np.float32),
        scores=np.zeros(0, dtype=np.float32),
        class_index=np.zeros(0, dtype=np.int64),
        masks=None,
    )
    with pytest.raises(UsageError, match=f"^{name} must be a number, got True"):
        harness.draw(None, none, **{name: True})
