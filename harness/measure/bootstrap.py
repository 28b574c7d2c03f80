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
from dataclasses import dataclass, replace

import numpy as np

from harness.core.record import MetricInterval
from harness.measure.columns import Floats
from harness.measure.resampling import (
    SIZE_METRICS,
    Matches,
    average_precisions,
    category_precisions,
    draws,
    influences_of,
    mean_of_known,
    spread_of,
)

#: Resamples computed at once; bounds memory. Those of one run: a thread each.
CHUNK = 200
SMALL_CHUNK = 50

#: 95 %.
PERCENTILES = (2.5, 97.5)

#: A difference that is so many standard errors wider than a 95 % interval reaches is found with a
#: probability of 80 %.
POWER_80 = 0.841621

#: One seed: the same two runs compare the same every time.
SEED = 20171

#: Draws for the interval of one run: its standard error is known to 3 %, that of a rare category's
#: AP, which is less nearly a sum over its images, to 7 %.
RESAMPLES = 100

#: Of sums, in AP points: less is no difference.
ROUNDING = 1e-9

#: Probability of an error that a difference may have.
LEVEL = 0.05

#: A number has an interval where its objects are in so many images; with fewer there is nothing to
#: draw from.
LEAST_IMAGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference in AP points, and its range in 95 % of the resampled data sets."""

    difference: float
    """Of the whole data set, in AP points (0…100)."""

    low: float
    """2.5 % of the resampled differences are below, in AP points."""

    high: float
    """2.5 % of the resampled differences are above, in AP points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference of two runs on the same images, and how sure it is."""

    difference: float
    """Second minus first, in AP points."""

    low: float
    """2.5 % of the resampled differences are below, in AP points."""

    high: float
    """2.5 % of the resampled differences are above, in AP points."""

    p: float | None
    """How often chance alone would give as large a difference; None where there is nothing to draw
    from."""

    adjusted_p: float | None = None
    """The same after Benjamini and Hochberg, for one of many that are looked at together; None
    where it is looked at by itself."""

    @property
    def word(self) -> str:
        """``better``, ``worse``, or ``noise``: at a level of 5 %, of many at a false discovery
        rate of 5 %.
        """
        sure = self.p is not None and not self.low <= 0 <= self.high
        if self.adjusted_p is not None:
            sure = self.adjusted_p <= LEVEL
        if not sure or self.difference == 0:
            return "noise"
        return "better" if self.difference > 0 else "worse"

    @property
    def meaning(self) -> str:
        """The word, and why it is noise where the interval by itself would say otherwise."""
        if self.p is None:
            return "noise in so few images"
        sure_alone = replace(self, adjusted_p=None).word != "noise"
        return "noise among so many" if self.word == "noise" and sure_alone else self.word


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """The differences of two runs in one task."""

    metrics: dict[str, Difference]
    """By name, AP … APl; those of sizes are adjusted together with the categories."""

    categories: dict[int, Difference]
    """Of AP by position of the category; without those in too few images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How sure the APs of one task are."""

    metrics: dict[str, MetricInterval]
    """By name, AP … APl; without those that have no number, or objects in too few images."""

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
    for that alone. Its spread is not, so the interval is the measured AP ± its standard error times
    a quantile of Student's distribution (``measure.resampling``), within 0…100
    (``benchmarks/interval_coverage.py``).

    Args:
        matches: As returned by ``matches_by_size``.
        images: How many images there are.
        resamples: How many data sets to draw.
        seed: Seed of the random draws.
        threads: How many to compute on at once.
    """
    whole = _values(matches, np.ones((1, images)))
    influences = influences_of(matches, images)
    derived = influences.of_weight

    def computed(weights: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
        return _values(matches, weights), {key: one @ weights.T for key, one in derived.items()}

    with ThreadPoolExecutor(max(1, threads)) as pool:
        weightings = draws(images, resamples, seed=seed, size=SMALL_CHUNK, small=True)
        parts = list(pool.map(computed, weightings))
    drawn, sums = (
        {name: np.concatenate([part[side][name] for part in parts], axis=-1) for name in whole}
        for side in (0, 1)
    )
    rest = drawn, sums, derived, influences.corrected
    metrics = {
        name: found
        for name in _metrics_in_enough(matches)
        if (found := around(whole[name][0], *(one[name] for one in rest))) is not None
    }
    own = [one["categories"] for one in (whole, *rest)]
    categories = {
        number: found
        for number in _categories_in_enough(matches["all"])
        if (found := around(own[0][number, 0], *(one[number] for one in own[1:]))) is not None
    }
    return Intervals(metrics=metrics, categories=categories)


def _categories_in_enough(matches: Sequence[Matches]) -> list[int]:
    """Positions of the categories whose objects are in enough images."""
    return [number for number, one in enumerate(matches) if _images_of([one]) >= LEAST_IMAGES]


def _metrics_in_enough(matches: Mapping[str, Sequence[Matches]]) -> list[str]:
    """Names of the APs whose objects are in enough images."""
    names = {"all": ("AP", "AP50", "AP75"), **{size: (one,) for size, one in SIZE_METRICS.items()}}
    return [
        name
        for size, found in matches.items()
        if _images_of(found) >= LEAST_IMAGES
        for name in names[size]
    ]


def _images_of(matches: Sequence[Matches]) -> int:
    """How many images have an object that counts."""
    return len(np.unique(np.concatenate([np.zeros(0), *(one.objects for one in matches)])))


def _values(matches: Mapping[str, Sequence[Matches]], weights: Floats) -> dict[str, Floats]:
    """(S,) each AP by name, and (categories, S) AP of each category as ``categories``."""
    by_category = category_precisions(matches["all"], weights)
    values = {**_named(mean_of_known(by_category)), "categories": by_category.mean(axis=2)}
    for size, name in SIZE_METRICS.items():
        if size in matches:
            values[name] = average_precisions(matches[size], weights).mean(axis=1)
    return values


def around(
    value: float, drawn: Floats, sums: Floats, influence: Floats, corrected: Floats | None = None
) -> MetricInterval | None:
    """The interval of a measured AP; None where it, or most of the drawn ones, are unknown.

    None, too, where all drawn ones are the same, as without detections.

    Args:
        value: The measured AP.
        drawn: (S,) the resampled ones.
        sums: (S,) of the influences of what was drawn.
        influence: (images,) of each image.
        corrected: (images,) of ``Influences.corrected``; None where that is not known.
    """
    if math.isnan(value) or 2 * np.isnan(drawn).sum() > len(drawn):
        return None
    spread = spread_of(drawn, sums, influence, corrected)
    if spread is None:
        return None
    return MetricInterval(
        low=max(0.0, float(value) - spread.width * spread.error),
        high=min(100.0, float(value) + spread.width * spread.error),
        standard_error=spread.error,
        detectable=(spread.width + POWER_80) * math.sqrt(2) * spread.error,
    )


def differences_of(
    first: Mapping[str, Sequence[Matches]],
    second: Mapping[str, Sequence[Matches]],
    *,
    images: int,
    resamples: int,
    seed: int,
    advance: Callable[[int], object],
) -> Differences:
    """Second minus first for every AP, with intervals; sizes and categories adjusted as one family.

    With eighty categories four differ "significantly" by chance. Benjamini and Hochberg (1995)
    bound the part of false ones among those that are called different.

    Args:
        first: As returned by ``matches_by_size``, of the first run.
        second: The same of the second run, on the same images.
        images: How many images there are.
        resamples: How many data sets to draw.
        seed: Seed of the random draws.
        advance: Called with the number of finished resamples.
    """
    ones = np.ones((1, images))
    before, after = _values(first, ones), _values(second, ones)
    parts: dict[str, list[Floats]] = {name: [] for name in before}
    for weights in draws(images, resamples, seed=seed, size=CHUNK, small=True):
        one, other = _values(first, weights), _values(second, weights)
        for name, kept in parts.items():
            kept.append(other[name] - one[name])
        advance(len(weights))
    spread = {name: np.concatenate(kept, axis=-1) for name, kept in parts.items()}
    enough = _metrics_in_enough(first)
    found = {
        name: difference_of(
            float(after[name][0] - before[name][0]), spread[name], enough=name in enough
        )
        for name in before
        if name != "categories"
    }
    categories = {
        number: difference_of(
            float(after["categories"][number, 0] - before["categories"][number, 0]),
            spread["categories"][number],
        )
        for number in _categories_in_enough(first["all"])
    }
    return adjusted(found, categories)


def difference_of(value: float, drawn: Floats, *, enough: bool = True) -> Difference | None:
    """A difference with its interval; None where it, or most of the drawn ones, are unknown.

    Args:
        value: Value of the whole data set.
        drawn: (S,) of the resampled ones.
        enough: Whether there are images enough to draw from.
    """
    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or 2 * len(known) < len(drawn) or len(known) == 0:
        return None
    low, high = np.percentile(known, PERCENTILES)
    error = float(known.std())
    p = 1.0 if abs(value) < ROUNDING else None
    if p is None and enough:  # without an error every draw says the same
        p = math.erfc(abs(value) / error / math.sqrt(2)) if error else 0.0
    return Difference(difference=value, low=float(low), high=float(high), p=p)


def adjusted(
    metrics: Mapping[str, Difference | None], categories: Mapping[int, Difference | None]
) -> Differences:
    """The known differences, those of sizes and categories adjusted as one family."""
    alone = {name: one for name, one in metrics.items() if one is not None}
    by_category = {number: one for number, one in categories.items() if one is not None}
    sizes = [name for name in SIZE_METRICS.values() if name in alone]
    family = [*(alone[name] for name in sizes), *by_category.values()]
    ps = benjamini_hochberg([1.0 if one.p is None else one.p for one in family])
    changed = [replace(one, adjusted_p=p) for one, p in zip(family, ps, strict=True)]
    of_sizes = dict(zip(sizes, changed, strict=False))
    return Differences(
        metrics={**alone, **of_sizes},
        categories=dict(zip(by_category, changed[len(sizes) :], strict=True)),
    )


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """P values adjusted for the false discovery rate (Benjamini & Hochberg 1995), in their order.

    Args:
        ps: 0…1.
    """
    if not ps:
        return []
    values = np.asarray(ps, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    scaled = values[order] * len(values) / np.arange(len(values), 0, -1)
    result = np.empty_like(values)
    result[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return [float(one) for one in result]


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
        seed: Seed of the random draws; the same seed gives the same intervals.
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
