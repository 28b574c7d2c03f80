"""AP of resampled data sets.

Detections are matched with the ground truth once (``measure.greedy``). What AP then needs of an
image is a list of hits and misses, so a resampled data set is the same lists with other weights:
drawing an image twice weighs its lists by two. With all weights one this is COCOeval's own AP
(``tests/measure/test_bootstrap.py``: to 1e-9).

Precision is at its highest where a detection matches, so only those are looked at; the others are
counted, once for all IoU thresholds, because the few that one of them ignores can be taken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.tasks import Task
from harness.measure.children import Asked, in_child_if_long
from harness.measure.columns import Floats, Integers, Objects, Results, objects_of, results_of
from harness.measure.greedy import IOUS, SIZES, Matching, match

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
        annotations: Of ``data.coco.read_annotations``.
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
        annotations: Of ``data.coco.read_annotations``.
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
    matching = match(objects, results)
    return {
        size: [
            matches_of_category(objects, results, matching, size=number, category=one)
            for one in range(len(annotations["categories"]))
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
        matching: Of both.
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
    step = max(1, CHUNK_NUMBERS // max(1, len(category.image)))
    for begin in range(0, weights.shape[1], step):
        part = slice(begin, begin + step)
        own = weights[category.image, part]
        seen = np.cumsum(own, axis=0)
        for number, (hit, counted) in enumerate(zip(category.hit, category.counted, strict=True)):
            result[number, part] = _area(own, seen, hit, counted, objects[part])
    result[:, objects == 0] = np.nan
    return 100 * result


def _area(
    own: Floats,
    seen: Floats,
    hit: npt.NDArray[np.bool_],
    counted: npt.NDArray[np.bool_],
    objects: Floats,
) -> Floats:
    """(S,) mean of the highest precision at and after each recall level.

    Args:
        own: (N, S) how often each detection is there.
        seen: (N, S) the same of it and all before it.
        hit: (N,) matches that count.
        counted: (N,) what counts.
        objects: (S,) number of objects.
    """
    rows = np.flatnonzero(hit)
    if len(rows) == 0:
        return np.zeros(len(objects))
    hits = np.cumsum(own[rows], axis=0)
    total = seen[rows]
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
    steps = np.diff(level, axis=0, prepend=0)
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
        drawn = random.multinomial(images, np.full(images, 1 / images), size=count)
        yield drawn.astype(np.float32 if small else np.float64)
