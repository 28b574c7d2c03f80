"""Classes of pixels by a semantic head alone, as Detectron2's ``SemSegEvaluator`` counts them.

The classes are those of ``panoptic_stuff_val2017``: 0 for things of any kind, then each kind of
stuff. Pixels without a class in the ground truth count for nothing. A class that the ground truth
does not have is in no mean, whatever was found of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.core.panoptic import UNKNOWN
from harness.core.record import MetricInterval
from harness.core.tasks import SEMANTIC, SEMANTIC_METRICS
from harness.measure.bootstrap import CHUNK, LEAST_IMAGES, SEED, around
from harness.measure.resampling import draws

Classes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

#: Rows of one image: class in the ground truth, class found, and how many pixels have both.
Confusion = list[list[int]]

#: Classes fit in a byte, and the last one is UNKNOWN.
CLASSES = UNKNOWN + 1


class SemanticScores(NamedTuple):
    """The numbers of a set of images."""

    metrics: dict[str, float | None]
    """``sem_seg/mIoU``, ``sem_seg/fwIoU`` …, 0-100; None without a pixel that has a class."""

    intervals: dict[str, MetricInterval]
    """How sure they are."""


def confusion(truth: Classes, found: Classes) -> Confusion:
    """Count the pixels of an image by what they are and what was found.

    Args:
        truth: (H, W), UNKNOWN where nothing is known: these pixels are not counted.
        found: (H, W).

    Returns:
        Rows of class, found class and pixels, ascending; none of no pixel.
    """
    pairs = truth.ravel().astype(np.int64) * CLASSES + found.ravel()
    counts = np.bincount(pairs, minlength=UNKNOWN * CLASSES)[: UNKNOWN * CLASSES]
    return [
        [int(one) // CLASSES, int(one) % CLASSES, int(counts[one])]
        for one in np.flatnonzero(counts)
    ]


def semantic_scores(
    images: Sequence[Confusion], class_count: int, *, resamples: int = 0
) -> SemanticScores:
    """Return mean and frequency-weighted IoU, and mean and whole accuracy of pixels.

    Args:
        images: The counts of each image.
        class_count: K, with that of things.
        resamples: Draws of the bootstrap over images; 0 for no intervals.
    """
    table = np.zeros((len(images), 3, class_count))
    for image, rows in enumerate(images):
        for known, found, pixels in rows:
            table[image, 0, known] += pixels * (known == found)
            table[image, 1, known] += pixels
            table[image, 2, found] += pixels
    whole = {name: float(one[0]) for name, one in _numbers(table.sum(axis=0)[None]).items()}
    metrics = {name: None if np.isnan(one) else 100 * one for name, one in whole.items()}
    if resamples == 0 or len(images) < LEAST_IMAGES:
        return SemanticScores(metrics, {})
    return SemanticScores(metrics, _intervals(table, whole, resamples))


def _numbers(sums: Floats) -> dict[str, Floats]:
    """Return the numbers by name, (S,) each, 0…1; NaN where no pixel has a class.

    Args:
        sums: (S, 3, K) pixels that are found right, that have a class, that were found to have it.
    """
    hits, known = sums[:, 0], sums[:, 1]
    union = known + sums[:, 2] - hits
    there = known > 0
    count, pixels = there.sum(axis=1), known.sum(axis=1)
    iou, accuracy = _quotient(hits, union, there), _quotient(hits, known, there)
    found = (
        _quotient(iou.sum(axis=1), count, count > 0),
        (iou * _quotient(known, pixels[:, None], there)).sum(axis=1),
        _quotient(accuracy.sum(axis=1), count, count > 0),
        _quotient(hits.sum(axis=1), pixels, count > 0),
    )
    return {
        f"{SEMANTIC}/{name}": np.where(count > 0, one, np.nan)
        for name, one in zip(SEMANTIC_METRICS, found, strict=True)
    }


def _quotient(above: Floats, below: Floats, where: npt.NDArray[np.bool_]) -> Floats:
    """Return above / below, 0 elsewhere."""
    return np.divide(above, below, out=np.zeros(above.shape), where=where)


def _intervals(table: Floats, whole: dict[str, float], resamples: int) -> dict[str, MetricInterval]:
    influences = _influences(table)
    drawn: dict[str, list[Floats]] = {name: [] for name in whole}
    carried: dict[str, list[Floats]] = {name: [] for name in whole}
    flat = table.reshape(len(table), -1)
    for weights in draws(len(table), resamples, seed=SEED, size=CHUNK):
        for name, values in _numbers((weights @ flat).reshape(-1, *table.shape[1:])).items():
            drawn[name].append(values)
            carried[name].append(weights @ influences[name])
    found = {
        name: around(
            100 * value,
            100 * np.concatenate(drawn[name]),
            100 * np.concatenate(carried[name]),
            100 * influences[name],
        )
        for name, value in whole.items()
    }
    return {name: one for name, one in found.items() if one is not None}


def _influences(table: Floats) -> dict[str, Floats]:
    """Return how much each image moves the numbers, (images,) by name: derivatives by its weight.

    Of a quotient a / b it is (aᵢ − a / b · bᵢ) / b; of a sum of products the rule for products.
    """
    hits, known = table[:, 0], table[:, 1]
    union = known + table[:, 2] - hits
    there = known.sum(axis=0) > 0
    count = max(1, int(there.sum()))
    pixels = np.broadcast_to(known.sum(axis=1)[:, None], known.shape)
    iou, of_iou = _derived(hits, union, there)
    share, of_share = _derived(known, pixels, there)
    _, of_accuracy = _derived(hits, known, there)
    _, of_all = _derived(hits.sum(axis=1)[:, None], pixels[:, :1], there.any()[None])
    found = (
        of_iou.sum(axis=1) / count,
        (of_iou * share + iou * of_share).sum(axis=1),
        of_accuracy.sum(axis=1) / count,
        of_all[:, 0],
    )
    return {f"{SEMANTIC}/{name}": one for name, one in zip(SEMANTIC_METRICS, found, strict=True)}


def _derived(above: Floats, below: Floats, where: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the quotients of the sums of two (images, K), (K,), and the images' influence on them.

    Args:
        above: Summed over the images.
        below: Also.
        where: (K,) what is known; elsewhere both are 0.
    """
    total = np.where(where, below.sum(axis=0), 1.0)
    value = np.where(where, above.sum(axis=0) / total, 0.0)
    return value, np.where(where, (above - value * below) / total, 0.0)
