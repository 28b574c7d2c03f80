"""Rounding all at once finds the numbers that printing each one finds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from harness.core.shortest_digits import LEAST, MOST, shortest

RANDOM = np.random.Generator(np.random.PCG64(5))
COUNT = 20_000


def neighbours(value: float, count: int = 60) -> npt.NDArray[np.float32]:
    """The float32 numbers on both sides of a value."""
    bits = np.float32(value).view(np.int32) + np.arange(-count, count + 1, dtype=np.int32)
    return bits.astype(np.int32).view(np.float32)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.random(COUNT) * 1000,
        RANDOM.random(COUNT),
        10 ** RANDOM.uniform(-8, 12, COUNT),
        -(10 ** RANDOM.uniform(-8, 12, COUNT)),
        np.round(RANDOM.random(COUNT) * 1000, 2),
        RANDOM.integers(0, 2**24, COUNT) / 2.0 ** RANDOM.integers(0, 24, COUNT),
        np.concatenate([neighbours(10.0**one) for one in range(LEAST - 1, MOST + 2)]),
        np.concatenate([neighbours(2.0**one, 3) for one in range(-20, 25)]),
        np.array([0.0, -0.0, 1.0, 1e-45, 3.4e38, math.inf, -math.inf]),
        np.zeros(0),
    ],
    ids=[
        "pixels",
        "scores",
        "of any size",
        "negative",
        "decimals",
        "few bits",
        "powers of ten",
        "powers of two",
        "extremes",
        "none",
    ],
)
def test_the_numbers_are_those_that_are_printed(values: npt.NDArray[np.float64]) -> None:
    rounded = values.astype(np.float32)

    found = shortest(rounded)

    printed = [float(str(one)) for one in rounded]
    assert [one.hex() for one in found] == [one.hex() for one in printed]


def test_what_is_not_a_number_stays_so() -> None:
    assert math.isnan(shortest(np.array([math.nan], dtype=np.float32))[0])
