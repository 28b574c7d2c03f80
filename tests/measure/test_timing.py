"""Latency statistics and the booking of phases."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.timing import NULL_STOPWATCH, PhaseTimer, latency, percentile

seconds = st.floats(1e-4, 10)


def test_one_known_case() -> None:
    found = latency([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]])
    assert found.count == 6
    assert found.mean_s == pytest.approx(0.25)
    assert found.fps == pytest.approx(4.0)
    assert found.p50_s == pytest.approx(0.25)
    assert found.p90_s == pytest.approx(0.35)
    assert found.spread == pytest.approx(0.1 / 0.25)


@given(st.lists(st.lists(seconds, min_size=1, max_size=9), min_size=1, max_size=5))
def test_percentiles_are_ordered_and_inside(repeats: list[list[float]]) -> None:
    found = latency(repeats)
    every = [second for repeat in repeats for second in repeat]
    assert min(every) <= found.p50_s <= found.p90_s <= found.p99_s <= max(every)
    assert min(every) * (1 - 1e-12) <= found.mean_s <= max(every) * (1 + 1e-12)
    assert found.spread >= 0


@given(st.lists(seconds, min_size=2, max_size=50))
def test_percentiles_equal_the_standard_librarys(values: list[float]) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")
    ordered = sorted(values)
    assert percentile(ordered, 50) == pytest.approx(expected[49])
    assert percentile(ordered, 90) == pytest.approx(expected[89])
    assert percentile(ordered, 100) == ordered[-1]


def test_a_phase_waits_for_the_device_before_and_after() -> None:
    events: list[str] = []
    ticks = iter(range(100))

    def now() -> float:
        events.append("read")
        return float(next(ticks))

    timer = PhaseTimer(now, lambda: events.append("synchronize"))
    with timer.phase("forward"):
        events.append("work")
    assert events == ["synchronize", "read", "work", "synchronize", "read"]
    with timer.phase("forward"):
        pass
    assert timer.seconds == {"forward": 2.0}


def test_a_phase_that_fails_is_booked() -> None:
    ticks = iter((0.0, 3.0))
    timer = PhaseTimer(lambda: next(ticks), lambda: None)
    with pytest.raises(ValueError, match="broken"), timer.phase("load"):
        raise ValueError("broken")
    assert timer.seconds == {"load": 3.0}


def test_the_null_stopwatch_books_nothing() -> None:
    with NULL_STOPWATCH.phase("forward"):
        pass
