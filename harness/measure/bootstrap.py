"""The uncertainty of a difference of two APs: a paired bootstrap over images.

Detections are matched to the ground truth once, by pycocotools. What AP then needs of an image is a
list of hits and misses, so a resampled data set is the same lists with other weights: drawing an
image twice weighs its lists by two. Both runs get the same draws, which takes out what the images
have in common (Efron & Tibshirani 1993, percentile interval).

With all weights one this is COCOeval's own AP (``tests/measure/test_bootstrap.py``: to 1e-9).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.measure.children import Asked, in_child_if_long
from harness.measure.evaluators import Task, ground_truth, numbering_of, result_row

#: COCOeval: recall levels, IoU thresholds, detections an image.
RECALLS = np.linspace(0.0, 1.00, 101)
IOUS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100

#: Resamples computed at once; bounds memory.
CHUNK = 50

#: 95 %.
PERCENTILES = (2.5, 97.5)

#: One seed: the same two runs compare the same every time.
SEED = 20171

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matches:
    """One category's detections over all images, best score first (N), at T IoU thresholds."""

    hit: npt.NDArray[np.bool_]
    """(T, N) bool: the detection matches an object."""

    counted: npt.NDArray[np.bool_]
    """(T, N) bool; what is not counted is ignored, as matches of crowds are."""

    image: npt.NDArray[np.int64]
    """(N,) int64, position in the list of image ids."""

    objects: npt.NDArray[np.int64]
    """(images,) int64, ground truth that counts, by image."""


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


def matches_of(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    task: Task,
    image_ids: Sequence[int],
) -> list[Matches]:
    """The matches of every category that has ground truth or detections.

    Args:
        annotations: Of ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        task: Boxes or masks.
        image_ids: The images that count; their order is that of ``Matches.image``.
    """
    return in_child_if_long(_matches, (annotations, predictions, task, tuple(image_ids)))


def _matches(asked: Asked) -> list[Matches]:
    annotations, predictions, task, image_ids = asked
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    wanted = frozenset(image_ids)
    numbering = numbering_of(annotations)
    rows = [result_row(row, task, numbering) for row in predictions if row["image_id"] in wanted]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(annotations, task, numbering)
        truth.createIndex()
        found = truth.loadRes(rows) if rows else COCO()
        evaluation = COCOeval(truth, found, task)
        evaluation.params.imgIds = sorted(numbering.image_numbers(wanted))
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    images = len(wanted)
    categories = len(evaluation.params.catIds)
    return [
        _category(evaluation.evalImgs[number * images : (number + 1) * images], images)
        for number in range(categories)
    ]


def _category(cells: Sequence[Mapping[str, Any] | None], images: int) -> Matches:
    objects = np.zeros(images, dtype=np.int64)
    scores, hits, ignored, owners = [], [], [], []
    for position, cell in enumerate(cells):
        if cell is None:
            continue
        objects[position] = int((np.asarray(cell["gtIgnore"]) == 0).sum())
        kept = len(cell["dtScores"][:MAX_DETECTIONS])
        scores.append(np.asarray(cell["dtScores"][:kept], dtype=np.float64))
        hits.append(np.asarray(cell["dtMatches"])[:, :kept] != 0)
        ignored.append(np.asarray(cell["dtIgnore"])[:, :kept] != 0)
        owners.append(np.full(kept, position))
    if not scores:
        empty = np.zeros((len(IOUS), 0), dtype=bool)
        return Matches(empty, empty, np.zeros(0, dtype=np.int64), objects)
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    return Matches(
        np.concatenate(hits, axis=1)[:, order],
        ~np.concatenate(ignored, axis=1)[:, order],
        np.concatenate(owners)[order].astype(np.int64),
        objects,
    )


def average_precisions(matches: Sequence[Matches], weights: Floats) -> Floats:
    """AP at each IoU threshold for each of several weightings of the images.

    Args:
        matches: One a category.
        weights: (S, images) how often each image counts.

    Returns:
        (S, T) float64 in 0…100; NaN where no category has ground truth.
    """
    total = np.zeros((len(weights), len(IOUS)))
    count = np.zeros((len(weights), 1))
    for category in matches:
        objects = weights @ category.objects  # (S,)
        there = objects > 0
        if not there.any():
            continue
        values = _category_precisions(category, weights[there], objects[there])
        total[there] += values
        count[there] += 1
    with np.errstate(invalid="ignore"):
        return 100 * total / count


def _category_precisions(category: Matches, weights: Floats, objects: Floats) -> Floats:
    """(S, T) AP of one category."""
    own = weights[:, category.image]  # (S, N)
    result = np.zeros((len(weights), len(IOUS)))
    if own.shape[1] == 0:
        return result
    for threshold in range(len(IOUS)):
        counted = own * category.counted[threshold]
        hits = np.cumsum(counted * category.hit[threshold], axis=1)
        seen = np.cumsum(counted, axis=1)
        recall = hits / objects[:, None]
        precision = hits / (seen + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for sample, (levels, heights) in enumerate(zip(recall, envelope, strict=True)):
            places = np.searchsorted(levels, RECALLS, side="left")
            result[sample, threshold] = heights[places[places < len(heights)]].sum() / len(RECALLS)
    return result


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
    random = np.random.Generator(np.random.PCG64(seed))
    ones = np.ones((1, images))
    whole = _named(average_precisions(second, ones) - average_precisions(first, ones))
    drawn: dict[str, list[Floats]] = {name: [] for name in whole}
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        draws = random.multinomial(images, np.full(images, 1 / images), size=size).astype(float)
        differences = average_precisions(second, draws) - average_precisions(first, draws)
        for name, values in _named(differences).items():
            drawn[name].append(values)
        advance(size)
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
