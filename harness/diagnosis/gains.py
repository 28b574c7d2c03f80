"""What undoing a fault must bring before the fault is claimed."""

from __future__ import annotations

import numpy as np

from harness.diagnosis.places import Undo

#: AP points that undoing a fault must bring, and as part of what AP is then.
LEAST_GAIN = 1.0
LEAST_PART = 0.1


def better(
    one: tuple[float, tuple[Undo, ...]], other: tuple[float, tuple[Undo, ...]]
) -> tuple[float, tuple[Undo, ...]]:
    """The higher AP of two; every fault that it assumes more must bring something.

    Args:
        one: AP, and what was undone for it.
        other: The same.
    """
    more = len(other[1]) - len(one[1])
    needed = margin(max(one[0], other[0])) * more if more else 0.0
    return other if other[0] - one[0] > needed else one


def margin(value: float) -> float:
    """How much an AP must be above another one to count as higher.

    Args:
        value: The higher AP.
    """
    return max(LEAST_GAIN, LEAST_PART * value)


def number(value: float) -> float:
    """An AP; 0 where there is none.

    Args:
        value: AP, or NaN.
    """
    return 0.0 if np.isnan(value) else value
