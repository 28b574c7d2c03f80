"""Flags, numbers and labels, however a program writes them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.printable import shown
from harness.data.fields import flag_of, labels_of, number_of, whole_number_of


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "1.0", "true", "True", " TRUE ", "yes"])
def test_what_says_yes(value: Any) -> None:
    assert flag_of(value) is True


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "0", "0.0", "false", "False", "no", ""])
def test_what_says_no(value: Any) -> None:
    assert flag_of(value) is False


@pytest.mark.parametrize("value", [2, -1, 0.5, math.nan, "2", "maybe", [], [1], {}, b"1"])
def test_what_says_neither_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="neither yes nor no"):
        flag_of(value)


def test_labels_are_never_taken_letter_by_letter() -> None:
    assert labels_of("Cat") == ["Cat"]
    assert labels_of(["Cat", "Dog"]) == ["Cat", "Dog"]
    assert labels_of(None) == []
    for bad in (5, {"Cat": 1}, [["Cat"]], ["Cat", None]):
        with pytest.raises(ValueError, match="not a list of labels"):
            labels_of(bad)


def test_numbers_may_be_text() -> None:
    assert number_of(" 2.5 ") == 2.5
    assert whole_number_of("12") == whole_number_of(12.0) == 12
    assert whole_number_of(2**63 - 1) == whole_number_of(str(2**63 - 1)) == 2**63 - 1
    for bad in (True, None, "nan", math.inf, "1_0", [1], 10**400, "9" * 400, ""):
        with pytest.raises(ValueError):
            number_of(bad)
    with pytest.raises(ValueError, match="not a whole number"):
        whole_number_of(1.5)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_value_is_read_or_refused_and_can_be_shown(value: Any) -> None:
    for read in (flag_of, number_of, whole_number_of, labels_of):
        with contextlib.suppress(ValueError):
            read(value)
    assert len(shown(value)) <= 60
    assert len(shown("9" * 10**6)) <= 60
