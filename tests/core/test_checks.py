"""A tolerance has one wording, wherever it is read."""

from __future__ import annotations

import pytest

from harness.core.checks import Check, Reference, Status, Tolerance
from harness.measure.verdict import conclude
from harness.report.page import _check_row
from harness.report.record_rows import record_rows


def tolerance(below: float | None, above: float | None) -> Tolerance:
    return Tolerance(below=below, above=above, source="a test")


@pytest.mark.parametrize(
    ("below", "above", "text"),
    [
        (0.1, 0.1, "±0.1"),
        (None, None, "any"),
        (None, 0.005, "-∞ … +0.005"),
        (0.2, None, "-0.2 … +∞"),
        (0.0123456, 1.0, "-0.01235 … +1"),
    ],
)
def test_its_text(below: float | None, above: float | None, text: str) -> None:
    assert str(tolerance(below, above)) == text


def test_tables_pages_and_verdicts_say_the_same() -> None:
    reference = Reference(
        metric="s_per_image", value=0.04, tolerance=tolerance(None, 0.005), source="a test"
    )
    check = Check(
        metric="s_per_image",
        measured=0.06,
        reference=reference,
        delta=0.02,
        status=Status.FAIL,
    )
    text = "-∞ … +0.005"
    assert text in record_rows({"s_per_image": 0.06}, (check,))[0]
    assert conclude((check,)).line.endswith(f"(allowed {text})")
    assert any(text in cell for cell in _check_row(check))
