"""A training that leaves the curve of an earlier one is told, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.measure.curve_band import departures


def curve(
    iterations: int, *, scale: float = 1.0, seed: int = 0, from_share: float = 0.0
) -> list[dict[str, Any]]:
    """Losses that fall with noise of 5 % a line, ``scale`` times as high from some share on."""
    random = np.random.Generator(np.random.PCG64(seed))
    lines = []
    for iteration in range(20, iterations + 1, 20):
        share = iteration / iterations
        loss = (0.5 + 2.0 * np.exp(-8 * share)) * random.normal(1.0, 0.05)
        lines.append(
            {"iteration": iteration, "total_loss": loss * (scale if share >= from_share else 1.0)}
        )
    return lines


@pytest.mark.parametrize("iterations", [20_000, 40_000, 5_000])
def test_another_seed_and_another_length_stay_in_the_band(iterations: int) -> None:
    for seed in range(1, 6):
        assert departures(curve(iterations, seed=seed), curve(20_000), iterations) == []


@pytest.mark.parametrize(("scale", "side"), [(1.25, "above"), (0.75, "below")])
def test_leaving_the_band_is_told_once_and_soon(scale: float, side: str) -> None:
    told = departures(
        curve(20_000, scale=scale, seed=1, from_share=0.4), curve(20_000), iterations=20_000
    )
    assert len(told) == 1
    assert f"is {side} the earlier training's" in told[0]
    iteration = int(told[0].split(":")[0].removeprefix("iteration ").replace(",", ""))
    assert 8_000 <= iteration <= 8_400


def test_coming_back_is_told_as_well() -> None:
    lines = curve(20_000, scale=1.3, seed=1)
    half = len(lines) // 2
    told = departures(lines[:half] + curve(20_000, seed=2)[half:], curve(20_000), 20_000)
    assert len(told) == 2
    assert "back in the band" in told[1]


def test_ap_is_compared_between_near_evaluations_only() -> None:
    reference = [
        {"iteration": 900, "bbox/AP": 30.0},
        {"iteration": 1000, "bbox/AP": 40.0},
        {"iteration": 100, "bbox/AP": 1.0},
    ]
    assert departures([{"iteration": 950, "bbox/AP": 34.5}], reference, 1000) == []
    (low,) = departures([{"iteration": 950, "bbox/AP": 33.5}], reference, 1000)
    assert low == "iteration 950: bbox/AP 33.500 is below the earlier training's 35.000 ± 1.000"
    assert departures([{"iteration": 500, "bbox/AP": 99.0}], reference, 1000) == []
    (end,) = departures([{"iteration": 2000, "bbox/AP": 38.0}], reference, 2000)
    assert "below the earlier training's 40.000" in end
