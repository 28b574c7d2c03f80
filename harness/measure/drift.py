"""A slow change that no single night's tolerance catches.

Two-sided CUSUM (Page 1954): deviations from the level of the first nights are added up, less an
allowance, and the sum raises an alarm when it passes a limit. With the numbers below a shift of
three standard deviations is found in a few nights, and noise alone raises less than one alarm a
year over a dozen series (``tests/measure/test_drift.py`` simulates both).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Nights that set the level and the noise; no alarm before there are as many.
SETTLING = 28

#: In standard deviations: half of the shift that is looked for, and the limit of the sum.
ALLOWANCE = 1.5
LIMIT = 6.0

#: Smallest noise believed, as a share of the level: equal numbers night after night would make the
#: last digit of the next one an alarm. 0.0005 of an AP of 40 is 0.02.
LEAST_NOISE = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A series that left its level."""

    began: int
    """Index of the first night of the excursion."""

    found: int
    """Index of the night that raised the alarm."""

    level: float
    """Median of the first nights, in the unit of the series."""

    current: float
    """Mean since the excursion began, in the unit of the series."""

    @property
    def change(self) -> float:
        """Current minus level, in the unit of the series."""
        return self.current - self.level


def find_drift(values: Sequence[float]) -> Drift | None:
    """The first drift of a series of nights; None when there is none.

    Args:
        values: One a night, oldest first, in any unit; with ``SETTLING`` or fewer there is no
            drift.
    """
    if len(values) <= SETTLING:
        return None
    level = statistics.median(values[:SETTLING])
    noise = max(_noise(values[:SETTLING]), LEAST_NOISE * abs(level), 1e-12)
    above = below = 0.0
    began_above = began_below = SETTLING
    for index in range(SETTLING, len(values)):
        step = (values[index] - level) / noise
        above, began_above = _added(above, step - ALLOWANCE, began_above, index)
        below, began_below = _added(below, -step - ALLOWANCE, began_below, index)
        if max(above, below) > LIMIT:
            began = began_above if above > below else began_below
            current = statistics.fmean(values[began : index + 1])
            return Drift(began=began, found=index, level=level, current=current)
    return None


def _added(total: float, term: float, began: int, index: int) -> tuple[float, int]:
    """The sum, never below zero, and where its current excursion began."""
    if total == 0.0:
        began = index
    return max(0.0, total + term), began


def _noise(values: Sequence[float]) -> float:
    """Standard deviation from the differences of neighbours: a trend does not widen it."""
    differences = [second - first for first, second in pairwise(values)]
    return float(statistics.pstdev(differences, 0.0)) / 2**0.5
