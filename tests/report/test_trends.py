"""Trends in words: what drifts, what is over, and why nothing was looked for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from harness.files.history import Point
from harness.report.trends import Trend, drifts_of, past_of, sentence_of, trends_of


def trend(values: list[float]) -> Trend:
    points = [
        Point(
            night_id=f"n{number}",
            cell="tiny",
            device_class="H200",
            created_utc="2026-01-01T01:00:00+00:00",
            status="pass",
            metric="s_per_image",
            value=value,
        )
        for number, value in enumerate(values)
    ]
    [found] = trends_of(points)
    return found


def test_a_drift_has_its_share_and_its_night() -> None:
    random = np.random.Generator(np.random.PCG64(2))
    values = random.normal(0.05, 0.0005, 100)
    values[40:50] *= 1.17
    values[80:] *= 1.08
    found = trend(values.tolist())
    assert "since night n80 (from 0.05" in sentence_of(found)
    assert found.drift is not None
    assert found.drift.change / found.drift.level == pytest.approx(0.08, abs=0.01)
    [past] = past_of(found)
    assert "from night n40 until night n50" in past
    assert drifts_of(found) == f"{sentence_of(found)}; over: {past}"
    values[80:] = 0.05
    again = trend(values.tolist())
    assert again.drift is None
    assert drifts_of(again) == f"over: {past_of(again)[0]}"
    assert drifts_of(trend([0.05] * 100)) == ""


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    assert sentence_of(trend([1.0] * 40)).startswith("not looked for: needs ruptures; run: pip")
    assert sentence_of(trend([1.0] * 20)) == ""
