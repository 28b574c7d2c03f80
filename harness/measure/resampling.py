"""AP of resampled data sets: what each image contributes to it, and how far it spreads.

Detections are matched with the ground truth once (``measure.greedy``). What AP then needs of an
image is a list of hits and misses, so a resampled data set is the same lists with other weights:
drawing an image twice weighs its lists by two. With all weights one this is COCOeval's own AP
(``tests/measure/test_bootstrap.py``: to 1e-9). Precision is at its highest where a detection
matches, so only those are looked at; the others are counted, once for all IoU thresholds, because
the few that one of them ignores can be taken off.

Drawing an image twice changes AP by about its influence, the derivative by its weight, so the
resampled AP is nearly a sum over the draws (the infinitesimal jackknife: Jaeckel 1972, Efron 1982).
The spread of such a sum is known without drawing; only what the sum misses has to be drawn
(``measure.bootstrap``). The area below the precision envelope is derived, whose steps are as wide
as an object. COCO's 101 recall levels are a sum over the same envelope.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.tasks import Task
from harness.measure.columns import Floats, Integers, Objects, Results, objects_of, results_of
from harness.measure.greedy import IOUS, SIZES, Matching, match
from harness.measure.scoring_processes import Asked, in_child_if_long

#: COCOeval's recall levels are 0, 0.01, …, 1.
LEVELS = 101

#: Size class → the name of its metric; "all" has three.
SIZE_METRICS = {"small": "APs", "medium": "APm", "large": "APl"}

#: Numbers of one array while resampling: smaller ones take longer to call than to compute.
CHUNK_NUMBERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Matches:
    """One category's detections over all images, best score first (N), at T IoU thresholds."""

    hit: npt.NDArray[np.bool_]
    """(T, N) bool: the detection matches an object."""

    counted: npt.NDArray[np.bool_]
    """(T, N) bool; what is not counted is ignored, as matches of crowds are."""

    image: Integers
    """(N,) int64, position in the list of image ids."""

    objects: Integers
    """(objects,) int64, the image of each object that counts, by its position."""


def matches_of(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    task: Task,
    image_ids: Sequence[int],
) -> list[Matches]:
    """The matches of every category, by the order of the ids, with objects of all sizes.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        task: Boxes or masks.
        image_ids: The images that count; their order is that of ``Matches.image``.
    """
    found = matches_by_size(annotations, predictions, task, image_ids, sizes=("all",))
    return list(found["all"])


def matches_by_size(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    task: Task,
    image_ids: Sequence[int],
    *,
    sizes: Sequence[str] = tuple(SIZES),
) -> dict[str, list[Matches]]:
    """The same for each size class of the objects.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        task: Boxes or masks.
        image_ids: The images that count.
        sizes: Keys of ``measure.greedy.SIZES``.
    """
    asked = (annotations, predictions, task, tuple(image_ids))
    found = in_child_if_long(_matches, asked)
    return {size: found[size] for size in sizes}


def _matches(asked: Asked) -> dict[str, list[Matches]]:
    annotations, predictions, task, image_ids = asked
    objects = objects_of(annotations, task, image_ids)
    results = results_of(annotations, predictions, task, image_ids)
    return matches_from(objects, results, match(objects, results), len(annotations["categories"]))


def matches_from(
    objects: Objects, results: Results, matching: Matching, categories: int
) -> dict[str, list[Matches]]:
    """The matches of every category in every size class.

    Args:
        objects: What was matched.
        results: What was matched.
        matching: Matching of both.
        categories: How many there are.
    """
    return {
        size: [
            matches_of_category(objects, results, matching, size=number, category=one)
            for one in range(categories)
        ]
        for number, size in enumerate(SIZES)
    }


def matches_of_category(
    objects: Objects, results: Results, matching: Matching, *, size: int, category: int
) -> Matches:
    """The matches of one category in one size class, without what counts at no threshold.

    Args:
        objects: What was matched.
        results: What was matched.
        matching: Matching of both.
        size: Position of the size class.
        category: Position of the category.
    """
    kept = results.category[matching.kept]  # sorted: the order of accumulation
    rows = slice(*np.searchsorted(kept, (category, category + 1)))
    counted = matching.counted[size][:, rows]
    hit = (matching.object[size][:, rows] >= 0) & counted
    last = int(np.flatnonzero(hit.any(axis=0)).max(initial=-1)) + 1
    used = np.flatnonzero(counted[:, :last].any(axis=0))
    return Matches(
        hit[:, used],
        counted[:, used],
        results.image[matching.kept[rows]][used],
        objects.image[(objects.category == category) & ~matching.ignored[size]],
    )


def average_precisions(matches: Sequence[Matches], weights: Floats) -> Floats:
    """AP at each IoU threshold for each of several weightings of the images.

    Args:
        matches: One a category.
        weights: (S, images) how often each image counts.

    Returns:
        (S, T) float64 in 0…100; NaN where no category has ground truth.
    """
    return mean_of_known(category_precisions(matches, weights))


def mean_of_known(values: Floats) -> Floats:
    """The mean over the first axis of what is not NaN; NaN where all is."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(there, values, 0).sum(axis=0) / there.sum(axis=0)
    return mean


def category_precisions(matches: Sequence[Matches], weights: Floats) -> Floats:
    """AP of each category at each IoU threshold for each of several weightings of the images.

    Args:
        matches: One a category.
        weights: (S, images) how often each image counts.

    Returns:
        (categories, S, T) float64 in 0…100; NaN where a category has no ground truth.
    """
    by_image = np.ascontiguousarray(weights.T)
    thresholds = len(matches[0].hit) if matches else len(IOUS)
    result = np.full((len(matches), len(weights), thresholds), np.nan)
    for number, category in enumerate(matches):
        result[number] = _precisions(category, by_image).T
    return result


def _precisions(category: Matches, weights: Floats) -> Floats:
    """(T, S) AP of one category in 0…100 for (images, S) weights."""
    objects = weights[category.objects].sum(axis=0)
    result = np.zeros((len(category.hit), weights.shape[1]))
    if len(category.image) == 0:
        result[:, objects == 0] = np.nan
        return result
    # How often a detection and all before it are there matters where one of them matches.
    places = np.flatnonzero(category.hit.any(axis=0))
    begins, end = np.append(0, places[:-1] + 1)[: len(places)], places.max(initial=-1) + 1
    step = max(1, CHUNK_NUMBERS // max(1, len(category.image)))
    for begin in range(0, weights.shape[1], step):
        part = slice(begin, begin + step)
        own = weights[category.image, part]
        seen = np.cumsum(np.add.reduceat(own[:end], begins, axis=0), axis=0)
        for number, (hit, counted) in enumerate(zip(category.hit, category.counted, strict=True)):
            result[number, part] = _area(own, seen[hit[places]], hit, counted, objects[part])
    result[:, objects == 0] = np.nan
    return 100 * result


def _area(
    own: Floats,
    total: Floats,
    hit: npt.NDArray[np.bool_],
    counted: npt.NDArray[np.bool_],
    objects: Floats,
) -> Floats:
    """(S,) mean of the highest precision at and after each recall level.

    Args:
        own: (N, S) how often each detection is there.
        total: (hits, S) the same of each hit and all detections before it; changed.
        hit: (N,) matches that count.
        counted: (N,) what counts.
        objects: (S,) number of objects.
    """
    rows = np.flatnonzero(hit)
    if len(rows) == 0:
        return np.zeros(len(objects))
    hits = np.cumsum(own[rows], axis=0)
    outside = np.flatnonzero(~counted)
    if len(outside):
        gone = np.cumsum(own[outside], axis=0)
        before = np.searchsorted(outside, rows)
        total[before > 0] -= gone[before[before > 0] - 1]
    total += np.spacing(1)
    precision = np.divide(hits, total, out=total)
    envelope = np.maximum.accumulate(precision[::-1], axis=0, out=precision[::-1])[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.divide(hits, objects, out=hits)
    # NumPy's linspace(0, 1, 101) is number · 0.01, with the rounding errors that COCOeval has.
    level = np.rint(recall * 100)
    with np.errstate(invalid="ignore"):
        level += recall >= level * 0.01
    steps = level.copy()
    steps[1:] -= level[:-1]
    area: Floats = np.einsum("ns,ns->s", envelope, steps) / LEVELS
    return area


def draws(
    images: int, resamples: int, *, seed: int, size: int, small: bool = False
) -> Iterator[Floats]:
    """Weights of resampled data sets: how often each image was drawn, (size, images) at a time.

    Args:
        images: How many there are, and are drawn.
        resamples: How many data sets to draw.
        seed: The same one gives the same draws.
        size: How many to return at once.
        small: Return float32, which takes half the memory; APs then have seven digits.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        if images == 0:  # NumPy draws from one place at least
            yield np.zeros((count, 0), dtype=np.float32 if small else np.float64)
            continue
        drawn = random.multinomial(images, np.full(images, 1 / images), size=count)
        yield drawn.astype(np.float32 if small else np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Influences:
    """What each image does to the APs of one task, in AP points."""

    of_weight: dict[str, Floats]
    """(images,) derivative by its weight, of each AP by name, and (categories, images) of each
    category as ``categories``."""

    corrected: dict[str, Floats]
    """The same, enlarged so that their squares are the variance of data sets on average."""


def influences_of(matches: Mapping[str, Sequence[Matches]], images: int) -> Influences:
    """The influence of each image on each AP.

    The influences of the images that a number was computed from spread less than those of others
    would, for each of them pulled the number its own way: the derivative of a mean of m shows a
    variance of (m − 1) / m of the true one, and in a rare category m is small. As for any ratio of
    sums, the square of an image's derivative is too small by 1 − h, where h is the share of the
    category's objects that are on the image; dividing by that makes the variance right on average
    (MacKinnon & White 1985 as HC2; Bell & McCaffrey 2002 for samples of several stages).

    Args:
        matches: As returned by ``matches_by_size``.
        images: How many images there are.
    """
    result = Influences(of_weight={}, corrected={})
    for size, by_category in matches.items():
        known = [number for number, one in enumerate(by_category) if len(one.objects)]
        thresholds = len(by_category[0].hit) if by_category else 0
        total = np.zeros((2, thresholds, images))
        means = np.zeros((2, len(by_category), images))
        for number in known:
            own = category_influences(by_category[number], images)
            enlarged = own * enlarged_by(by_category[number], images)
            for kind, one in enumerate((own, enlarged)):
                means[kind, number] = one.mean(axis=0)
                total[kind] += one / len(known)
        for kind, found in enumerate((result.of_weight, result.corrected)):
            if size in SIZE_METRICS:
                found[SIZE_METRICS[size]] = means[kind].sum(axis=0) / max(1, len(known))
            elif thresholds:
                one = total[kind]
                found |= {"AP": one.mean(axis=0), "AP50": one[0], "AP75": one[5]}
                found["categories"] = means[kind]
    return result


def enlarged_by(matches: Matches, images: int) -> Floats:
    """(images,) how many times its derivative an image counts for: 1 / √(1 − h).

    0 for an image that has all objects: what other images would give is not known from it.

    Args:
        matches: Matches of a category that has objects.
        images: How many images there are.
    """
    own = np.bincount(matches.objects, minlength=images)
    others = len(matches.objects) - own
    ratio = np.divide(len(matches.objects), others, out=np.zeros(images), where=others > 0)
    enlarged: Floats = np.sqrt(ratio)
    return enlarged


def category_influences(matches: Matches, images: int) -> Floats:
    """(T, images) influence of each image on the AP of one category, in AP points.

    Args:
        matches: Matches of a category that has objects.
        images: How many images there are.
    """
    objects = len(matches.objects)
    own_objects = np.bincount(matches.objects, minlength=images)
    result = np.zeros((len(matches.hit), images))
    for number, (hit, counted) in enumerate(zip(matches.hit, matches.counted, strict=True)):
        value, detections = _influences(hit, counted)
        own = np.bincount(matches.image, weights=detections, minlength=images)
        result[number] = own - value / objects * own_objects
    return 100 / objects * result


def _influences(hit: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]) -> tuple[float, Floats]:
    """The sum of the envelope over all hits, and (N,) its derivative by each detection's weight.

    The envelope of a hit is the precision h / n of the best rank at or behind it, with h hits
    and n counted detections up to there. One more of weight w before that rank changes it by
    w · (1 − h / n) / n where it is a hit, and by −w · (h / n) / n otherwise; a hit also adds the
    envelope at its own place.

    Args:
        hit: (N,) matches that count, best score first.
        counted: (N,) what counts.
    """
    rows = np.flatnonzero(hit)
    result = np.zeros(len(hit))
    if len(rows) == 0:
        return 0.0, result
    seen = np.cumsum(counted)[rows]
    precision = np.arange(1, len(rows) + 1) / seen
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.arange(len(rows))
    best = np.where(precision >= envelope, places, len(rows))
    rank = np.minimum.accumulate(best[::-1])[::-1]  # whose precision the envelope is
    share = np.bincount(rank, minlength=len(rows)) / seen
    gained = np.cumsum(share[::-1])[::-1]
    lost = np.append(np.cumsum((share * precision)[::-1])[::-1], 0.0)
    result -= np.where(counted, lost[np.cumsum(hit) - hit], 0.0)
    result[rows] += envelope + gained
    return float(envelope.sum()), result


#: 95 % of a normal distribution are so many standard deviations around its mean.
NORMAL_95 = 1.959964

#: Fewer effective images are taken for so many: a quantile of fewer says nothing.
LEAST_EFFECTIVE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How much a number would differ on other images."""

    error: float
    """Its standard error."""
    width: float
    """Half a 95 % interval, in standard errors."""


def spread_of(
    drawn: Floats, sums: Floats, influence: Floats, corrected: Floats | None = None
) -> Spread | None:
    """The spread of a number, of resampled values and the influence of each image.

    The values are regressed on the sums of the influences of the images that were drawn; the
    variance of a sum is known exactly, and only that of the rest is the draws' (a control variate:
    Davison, Hinkley & Schechtman 1986). With a correlation of 0.97 a hundred draws are worth
    eight hundred.

    Where a few images carry a number, m of them say, the draws spread too little, and their spread
    is itself uncertain: it is enlarged as much as the influences were corrected
    (``influences_of``), or, where that is not known, as for a mean of m; the quantile is Student's
    with m − 1 degrees of freedom.

    Args:
        drawn: (S,) resampled values, NaN where unknown.
        sums: (S,) the influences of what was drawn, each as often as it was.
        influence: (images,) of each image.
        corrected: (images,) as in ``Influences.corrected``; None where that is not known.

    Returns:
        None where no draw changed the number: that shows nothing of what other images would give.
    """
    known = ~np.isnan(drawn)
    if known.sum() < 2 or np.ptp(drawn[known]) == 0:
        return None
    variance = _variance(drawn[known], sums[known], influence - influence.mean())
    images = effective_images(influence if corrected is None else corrected)
    enlarged = images / (images - 1)
    if corrected is not None and influence.any():
        enlarged = float(corrected.var() / influence.var())
    return Spread(error=math.sqrt(variance * enlarged), width=student_95(images - 1))


def _variance(drawn: Floats, sums: Floats, influence: Floats) -> float:
    """The variance of resampled values, in so far as it is known exactly without the draws' noise.

    Args:
        drawn: (S,) resampled values.
        sums: (S,) of the influences.
        influence: (images,) with a mean of zero: then its squares are the variance of a sum.
    """
    spread = float(sums.var())
    if spread == 0:
        return float(drawn.var())
    slope = float(((drawn - drawn.mean()) * (sums - sums.mean())).mean()) / spread
    rest = float((drawn - slope * sums).var())
    return slope * slope * float((influence**2).sum()) + rest


def effective_images(influence: Floats) -> float:
    """How many images carry a number: m where m of them have the same influence and others none.

    Args:
        influence: (images,) of each image.
    """
    squares = (influence - influence.mean()) ** 2
    fourth = float((squares**2).sum())
    return max(LEAST_EFFECTIVE, float(squares.sum()) ** 2 / fourth if fourth else 0.0)


def student_95(freedom: float) -> float:
    """The 97.5 % quantile of Student's distribution (Cornish & Fisher's series; within 1 %).

    Args:
        freedom: Degrees of freedom, 2 or more.
    """
    z = NORMAL_95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
