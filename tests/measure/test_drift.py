"""Drifts are found within days, and noise raises no alarm for a year."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.drift import SETTLING, find_drift

#: Standard deviation of an AP from night to night that the simulations assume.
NOISE_AP = 0.03


def nights(seed: int, count: int, level: float = 40.0) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).normal(level, NOISE_AP, count)


@pytest.mark.parametrize("change", [-0.15, 0.15])
def test_a_drift_of_015_ap_is_found_within_five_nights(change: float) -> None:
    delays = []
    for seed in range(200):
        values = nights(seed, 90)
        values[60:] += change
        drift = find_drift(values.tolist())
        assert drift is not None
        assert drift.change * change > 0
        delays.append(drift.found - 60 + 1)
    assert min(delays) >= 1
    assert max(delays) <= 5


def test_a_year_of_twelve_cells_raises_less_than_one_false_alarm() -> None:
    years = 20
    alarms = sum(
        find_drift(nights(1000 + seed, 365).tolist()) is not None for seed in range(12 * years)
    )
    assert alarms < years


def test_numbers_that_never_change_never_drift() -> None:
    assert find_drift([38.6123] * 365) is None


def test_a_changed_number_after_equal_nights_is_found_at_once() -> None:
    drift = find_drift([38.60] * 40 + [38.45] * 2)
    assert drift is not None
    assert (drift.began, drift.found) == (40, 40)
    assert drift.change == pytest.approx(-0.15)


def test_a_slow_slide_is_found() -> None:
    values = nights(3, 120)
    values[40:] -= np.linspace(0, 0.4, 80)
    drift = find_drift(values.tolist())
    assert drift is not None
    assert drift.change < 0


@given(st.lists(st.floats(0, 100), max_size=SETTLING))
def test_the_first_nights_raise_no_alarm(values: list[float]) -> None:
    assert find_drift(values) is None
