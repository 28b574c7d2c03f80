"""The uncertainty of AP, and of a difference of two APs: a bootstrap over images.

The images are drawn again with replacement, as many as there are (Efron & Tibshirani 1993). Two
runs get the same draws, which takes out what their images have in common. A number counts for the
images that were drawn, so what spreads is what other images of the same kind would give; the
images are assumed to be independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from harness.core.record import MetricInterval
from harness.measure.columns import Floats
from harness.measure.resampling import (
    Matches,
    average_precisions,
    category_precisions,
    draws,
    mean_of_known,
)

#: Resamples computed at once; bounds memory.
CHUNK = 200

#: 95 %.
PERCENTILES = (2.5, 97.5)
STANDARD_ERRORS = 1.959964

#: Standard errors of a difference that is found with a probability of 80 % at a level of 5 %.
DETECTABLE_STANDARD_ERRORS = STANDARD_ERRORS + 0.841621

#: One seed: the same two runs compare the same every time.
SEED = 20171

#: Draws for the interval of one run: its standard error is known to 4 %.
RESAMPLES = 400

#: A category has an interval where its objects are in so many images; with fewer there is nothing
#: to draw from.
LEAST_IMAGES = 5

#: Size class → the name of its metric; "all" has three.
SIZE_METRICS = {"small": "APs", "medium": "APm", "large": "APl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference in AP points, and its range in 95 % of the resampled data sets."""

    difference: float
    """Of the whole data set, in AP points (0…100)."""

    low: float
    """2.5 % of the resampled differences are below, in AP points."""

    high: float
    """2.5 % of the resampled differences are above, in AP points."""

    @property
    def is_noise(self) -> bool:
        """True when the interval holds zero: other images might have given the opposite sign."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How sure the APs of one task are."""

    metrics: dict[str, MetricInterval]
    """By name, AP … APl; without those that have no number."""

    categories: dict[int, MetricInterval]
    """Of AP by position of the category; without those in too few images."""


def intervals_of(
    matches: Mapping[str, Sequence[Matches]],
    *,
    images: int,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    threads: int = 1,
) -> Intervals:
    """The 95 % interval of every AP of one run, and the smallest difference that would be seen.

    A resampled data set has images twice, whose detections score the same, and its AP is higher
    for that alone. Its spread is not, so the interval is the measured AP ± 1.96 standard
    deviations of the resampled ones, within 0…100 (``benchmarks/interval_coverage.py``).

    Args:
        matches: Of ``matches_by_size``.
        images: How many images there are.
        resamples: How many data sets to draw.
        seed: Of the random draws.
        threads: How many to compute on at once.
    """
    whole = _values(matches, np.ones((1, images)))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        parts = list(
            pool.map(
                lambda weights: _values(matches, weights),
                (
                    part.astype(np.float32)  # half the memory; it spreads the same
                    for part in draws(images, resamples, seed=seed, size=CHUNK)
                ),
            )
        )
    spread = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in whole}
    enough = [
        number
        for number, category in enumerate(matches["all"])
        if len(np.unique(category.objects)) >= LEAST_IMAGES
    ]
    metrics = {
        name: found
        for name in whole
        if name != "categories" and (found := _around(whole[name][0], spread[name])) is not None
    }
    categories = {
        number: found
        for number in enough
        if (found := _around(whole["categories"][number, 0], spread["categories"][number]))
        is not None
    }
    return Intervals(metrics=metrics, categories=categories)


def _values(matches: Mapping[str, Sequence[Matches]], weights: Floats) -> dict[str, Floats]:
    """(S,) each AP by name, and (categories, S) AP of each category as ``categories``."""
    by_category = category_precisions(matches["all"], weights)
    values = {**_named(mean_of_known(by_category)), "categories": by_category.mean(axis=2)}
    for size, name in SIZE_METRICS.items():
        if size in matches:
            values[name] = average_precisions(matches[size], weights).mean(axis=1)
    return values


def _around(value: float, drawn: Floats) -> MetricInterval | None:
    """The interval of a measured AP; None where it, or most of the drawn ones, are unknown."""
    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or 2 * len(known) < len(drawn):
        return None
    error = float(known.std())
    return MetricInterval(
        low=max(0.0, float(value) - STANDARD_ERRORS * error),
        high=min(100.0, float(value) + STANDARD_ERRORS * error),
        standard_error=error,
        detectable=DETECTABLE_STANDARD_ERRORS * math.sqrt(2) * error,
    )


def compare_paired(
    first: Sequence[Matches],
    second: Sequence[Matches],
    *,
    images: int,
    resamples: int,
    seed: int,
    advance: Callable[[int], object],
) -> dict[str, Interval]:
    """Second minus first, with its interval, for AP, AP50 and AP75.

    Args:
        first: Matches of the first run.
        second: Matches of the second run, on the same images.
        images: How many images there are.
        resamples: How many data sets to draw.
        seed: Of the random draws; the same seed gives the same intervals.
        advance: Called with the number of finished resamples.
    """
    ones = np.ones((1, images))
    whole = _named(average_precisions(second, ones) - average_precisions(first, ones))
    drawn: dict[str, list[Floats]] = {name: [] for name in whole}
    for weights in draws(images, resamples, seed=seed, size=CHUNK):
        differences = average_precisions(second, weights) - average_precisions(first, weights)
        for name, values in _named(differences).items():
            drawn[name].append(values)
        advance(len(weights))
    return {
        name: _interval(float(whole[name][0]), np.concatenate(parts))
        for name, parts in drawn.items()
    }


def _named(by_threshold: Floats) -> dict[str, Floats]:
    return {
        "AP": by_threshold.mean(axis=1),
        "AP50": by_threshold[:, 0],
        "AP75": by_threshold[:, 5],
    }


def _interval(difference: float, drawn: Floats) -> Interval:
    known = drawn[~np.isnan(drawn)]
    low, high = np.percentile(known, PERCENTILES) if len(known) else (np.nan, np.nan)
    return Interval(difference=difference, low=float(low), high=float(high))
