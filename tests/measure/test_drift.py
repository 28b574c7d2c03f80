"""Drifts are found within days, and noise raises no alarm for a year."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.drift import SETTLING, Levels, find_levels

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
        drift = find_levels(values.tolist()).drift
        assert drift is not None
        assert drift.change * change > 0
        delays.append(drift.found - 60 + 1)
    assert min(delays) >= 1
    assert max(delays) <= 5


def test_a_year_of_twelve_cells_raises_less_than_one_false_alarm() -> None:
    years = 20
    alarms = sum(
        find_levels(nights(1000 + seed, 365).tolist()).drift is not None
        for seed in range(12 * years)
    )
    assert alarms < years


def test_numbers_that_never_change_never_drift() -> None:
    assert find_levels([38.6123] * 365).drift is None


def test_a_changed_number_after_equal_nights_is_found_at_once() -> None:
    drift = find_levels([38.60] * 40 + [38.45] * 2).drift
    assert drift is not None
    assert (drift.began, drift.found) == (40, 40)
    assert drift.change == pytest.approx(-0.15)


def test_a_slow_slide_is_found() -> None:
    values = nights(3, 120)
    values[40:] -= np.linspace(0, 0.4, 80)
    drift = find_levels(values.tolist()).drift
    assert drift is not None
    assert drift.change < 0


@given(st.lists(st.floats(0, 100), max_size=SETTLING))
def test_the_first_nights_raise_no_alarm(values: list[float]) -> None:
    assert find_levels(values).drift is None


def times(seed: int, count: int) -> np.ndarray:
    """Seconds an image, with 2 % of noise."""
    return np.random.Generator(np.random.PCG64(seed)).normal(0.05, 0.001, count)


@pytest.mark.parametrize("seed", range(10))
def test_one_slow_night_is_no_drift(seed: int) -> None:
    values = times(seed, 120)
    values[80] *= 2
    assert find_levels(values.tolist()) == Levels()
    assert find_levels(values[:81].tolist()).drift is None


@pytest.mark.parametrize("seed", range(10))
def test_a_regression_that_was_fixed_is_history(seed: int) -> None:
    values = times(seed, 140)
    values[70:80] *= 1.17
    found = find_levels(values.tolist())
    assert found.drift is None
    [past] = found.recovered
    assert past.began == pytest.approx(70, abs=1)
    assert past.ended == pytest.approx(80, abs=1)
    assert past.change / past.level == pytest.approx(0.17, abs=0.03)


@pytest.mark.parametrize("seed", range(10))
def test_eight_percent_are_reported_as_eight_percent(seed: int) -> None:
    """Also after a regression of 17 % that was fixed, and beside an odd night."""
    values = times(seed, 160)
    values[60:70] *= 1.17
    values[130:] *= 1.08
    values[140] *= 3
    found = find_levels(values.tolist())
    assert found.drift is not None
    assert found.drift.began == pytest.approx(130, abs=2)
    assert found.drift.change / found.drift.level == pytest.approx(0.08, abs=0.02)
    assert [one.began for one in found.recovered] == [pytest.approx(60, abs=1)]


def test_a_drift_that_ends_is_an_alarm_only_while_it_lasts() -> None:
    values = times(5, 120)
    values[60:75] *= 1.2
    alarms = [night for night in range(29, 121) if find_levels(values[:night].tolist()).drift]
    assert min(alarms) in range(61, 66)
    assert max(alarms) in range(75, 79)


@pytest.mark.slow
def test_a_year_of_nights_seen_one_by_one_raises_less_than_one_false_alarm() -> None:
    """As a year is lived: after every night, with what is known by then."""
    years = 3
    alarms = 0
    for seed in range(12 * years):
        values = nights(5000 + seed, 365).tolist()
        alarms += any(find_levels(values[:night]).drift for night in range(SETTLING + 1, 366))
    assert alarms < years
