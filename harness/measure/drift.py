"""A slow change that no single night's tolerance catches: change points of a series of nights.

The nights are cut into segments of one level each by ``ruptures`` (Truong, Oudre & Vayatis 2020:
PELT with a Gaussian kernel, whose distances are bounded, so that one odd night weighs little,
however odd it is). A drift is a last segment that has left the level of the first nights. A segment
that left it and came back is history, and no alarm. ``tests/measure/test_drift.py`` simulates both
how soon a drift is found and how often noise alone raises an alarm.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Nights that set the level and the noise; no alarm before there are as many.
SETTLING = 28

#: Fewest nights of a level of its own. Two slow nights are no level.
LEAST_NIGHTS = 3

#: What another segment must explain, in the units of the kernel (0 to 2 a night): found by the
#: simulations of the tests.
PENALTY = 3.25

#: The same where nights repeat each other exactly: there is no noise to explain.
PENALTY_OF_EQUALS = 1.0

#: Of the kernel, for values in standard deviations of the noise: two nights that are two of them
#: apart are alike by a factor e^(−1/2).
GAMMA = 1 / 8

#: In standard deviations: a level that is nearer to the first nights has not left it.
LEAST_CHANGE = 1.5

#: Smallest noise believed, as a share of the level: equal numbers night after night would make the
#: last digit of the next one an alarm. 0.0005 of an AP of 40 is 0.02.
LEAST_NOISE = 5e-4

#: Median of |difference of two nights| for noise with a standard deviation of 1.
MEDIAN_DIFFERENCE = 0.6745 * 2**0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A series that left its level and has not come back."""

    began: int
    """Index of the first night off the level."""

    found: int
    """Index of the night that raised the alarm."""

    level: float
    """Median of the first nights, in the unit of the series."""

    current: float
    """Median of the last segment, in the unit of the series."""

    @property
    def change(self) -> float:
        """Current minus level, in the unit of the series."""
        return self.current - self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Nights off the level that are over."""

    began: int
    """Index of the first of them."""

    ended: int
    """Index of the first night after them."""

    level: float
    """Median of the first nights of the series, in its unit."""

    during: float
    """Median of the nights off the level, in the unit of the series."""

    @property
    def change(self) -> float:
        """How far they were off, in the unit of the series."""
        return self.during - self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What became of the level of a series."""

    drift: Drift | None = None
    """Where it is now, if it is not where it was."""

    recovered: tuple[Recovered, ...] = ()
    """Where it was in between, oldest first."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """What a change is measured against."""

    level: float
    """Median of the first nights."""
    noise: float
    """Standard deviation from night to night."""
    repeats: bool
    """Whether most nights have the number of the night before."""


def find_levels(values: Sequence[float]) -> Levels:
    """The drift of a series of nights, and those that are over.

    Args:
        values: One a night, oldest first, in any unit; with ``SETTLING`` or fewer there is none.
    """
    if len(values) <= SETTLING:
        return Levels()
    scale = _scale(values)
    recovered: list[Recovered] = []
    for began, ended in _excursions(values, scale):
        during = statistics.median(values[began:ended])
        if ended == len(values):
            drift = _drift(values, began, scale)
            return Levels(drift=drift, recovered=tuple(recovered))
        recovered.append(Recovered(began=began, ended=ended, level=scale.level, during=during))
    return Levels(recovered=tuple(recovered))


def _drift(values: Sequence[float], began: int, scale: _Scale) -> Drift:
    """The drift that began at a night: where it is now, and when it was first to be seen."""
    current = values[_segments(values, scale)[-1][0] :]
    found = len(values) - 1
    for last in range(max(began, SETTLING), len(values) - 1):
        if any(end == last + 1 for _, end in _excursions(values[: last + 1], scale)):
            found = last
            break
    return Drift(began=began, found=found, level=scale.level, current=statistics.median(current))


def _excursions(values: Sequence[float], scale: _Scale) -> list[tuple[int, int]]:
    """(first night, night after the last) of each run of segments on one side off the level."""
    found: list[tuple[int, int]] = []
    before = 0
    for start, end in _segments(values, scale):
        away = (statistics.median(values[start:end]) - scale.level) / scale.noise
        side = 0 if abs(away) < LEAST_CHANGE else 1 if away > 0 else -1
        if end <= SETTLING:
            side = 0  # the first nights are what the level is
        if side and side == before:
            found[-1] = (found[-1][0], end)
        elif side:
            found.append((start, end))
        before = side
    return found


def _segments(values: Sequence[float], scale: _Scale) -> list[tuple[int, int]]:
    """(first night, night after the last) of each segment, in order."""
    import numpy as np
    from ruptures import KernelCPD

    fewest = 1 if scale.repeats else LEAST_NIGHTS
    penalty = PENALTY_OF_EQUALS if scale.repeats else PENALTY
    found = KernelCPD(kernel="rbf", params={"gamma": GAMMA}, min_size=fewest)
    shown = (np.asarray(values, dtype=np.float64) - scale.level) / scale.noise
    ends = [int(end) for end in found.fit(shown.reshape(-1, 1)).predict(pen=penalty)]
    return list(zip([0, *ends], ends, strict=False))


def _scale(values: Sequence[float]) -> _Scale:
    """Level of the first nights, and the noise of all; no odd night and no step is noise."""
    level = statistics.median(values[:SETTLING])
    differences = [abs(second - first) for first, second in pairwise(values)]
    typical = statistics.median(differences)
    noise = max(typical / MEDIAN_DIFFERENCE, LEAST_NOISE * abs(level), 1e-12)
    return _Scale(level=level, noise=noise, repeats=typical == 0)
