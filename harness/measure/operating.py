"""What a score means: precision, recall and F1 by threshold, calibration, and confusions.

All of it at one IoU, of the detections that ``measure.matching`` matched. A threshold keeps what
scores at least as much; since the best score chooses first, no match changes with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.matching import CLASSIFICATION, Bools, Floats, Matching

#: Thresholds of the curves.
THRESHOLDS = np.arange(101) / 100

#: Bins of equal width of the scores.
BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCurves:
    """Of all categories together, at each of ``THRESHOLDS``."""

    threshold: tuple[float, ...]
    """Scores, 0 to 1."""
    precision: tuple[float | None, ...]
    """Share of the detections that are true positives; None without detections."""
    recall: tuple[float | None, ...]
    """Share of the objects that are matched; None without objects."""
    f1: tuple[float | None, ...]
    """Harmonic mean of both; None where there is neither a detection nor an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestThreshold:
    """The threshold with the highest F1, of one category or of all."""

    category_id: int | None
    """Id of the category; None for all together."""
    objects: int
    """Objects, without crowds."""
    detections: int
    """Detections of any score, without those in crowds."""
    threshold: float | None
    """Score; None where no detection is a true positive."""
    precision: float | None
    """Share of true positives at that threshold, 0 to 1."""
    recall: float | None
    """Share of matched objects at that threshold, 0 to 1."""
    f1: float | None
    """Their harmonic mean, 0 to 1."""
    reason: str = ""
    """Why there is none; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Detections with scores in one range."""

    low: float
    """Least score."""
    high: float
    """Scores are below; in the last bin, at most this."""
    detections: int
    """How many."""
    mean_score: float | None
    """Mean score; None without detections."""
    precision: float | None
    """Share of true positives, 0 to 1; None without detections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether a score is the share of detections that are right."""

    bins: tuple[CalibrationBin, ...]
    """By score, ascending."""
    expected_error: float | None
    """Mean distance of score and precision over the detections, 0 to 1 (detection expected
    calibration error, Küppers et al. 2020, over scores alone); None without detections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often objects of one category were detected as another."""

    truth: int | None
    """Category id of the object; None for the background."""
    predicted: int | None
    """Category id of the detection; None where the object was not detected."""
    count: int
    """How often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageErrors:
    """One image at a threshold."""

    image_id: int
    """Id of the image."""
    true_positives: int
    """Detections that match."""
    false_positives: int
    """Detections that do not."""
    false_negatives: int
    """Objects without a match."""

    @property
    def errors(self) -> int:
        """False positives and false negatives together."""
        return self.false_positives + self.false_negatives


def score_curves(found: Matching) -> ScoreCurves:
    """Precision, recall and F1 of all categories together over the thresholds."""
    counted = ~found.ignored
    scores = np.sort(found.score[counted])
    right = np.sort(found.score[found.hit])
    kept = len(scores) - np.searchsorted(scores, THRESHOLDS, side="left")
    true = len(right) - np.searchsorted(right, THRESHOLDS, side="left")
    objects = len(found.object_rows)
    pairs = list(zip(true.tolist(), kept.tolist(), strict=True))
    return ScoreCurves(
        threshold=tuple(THRESHOLDS.tolist()),
        precision=tuple(_share(hit, count) for hit, count in pairs),
        recall=tuple(_share(hit, objects) for hit, _ in pairs),
        f1=tuple(_share(2 * hit, count + objects) for hit, count in pairs),
    )


def best_thresholds(found: Matching) -> tuple[BestThreshold, ...]:
    """The best threshold of all categories together, then of each category, by id."""
    counted = ~found.ignored
    scores, hits, classes = found.score[counted], found.hit[counted], found.class_index[counted]
    objects = np.bincount(found.object_class_index, minlength=len(found.category_ids))
    rows = [_best(None, scores, hits, len(found.object_rows))]
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(len(found.category_ids) + 1))
    for number, category_id in enumerate(found.category_ids):
        own = order[starts[number] : starts[number + 1]]
        rows.append(_best(category_id, scores[own], hits[own], int(objects[number])))
    return tuple(rows)


def _best(category_id: int | None, scores: Floats, hits: Bools, objects: int) -> BestThreshold:
    if not hits.any():
        return BestThreshold(
            category_id=category_id,
            objects=objects,
            detections=len(scores),
            threshold=None,
            precision=None,
            recall=None,
            f1=None,
            reason=_reason(objects, len(scores)),
        )
    order = np.argsort(-scores, kind="stable")
    scores, true = scores[order], np.cumsum(hits[order])
    f1 = 2 * true / (np.arange(1, len(scores) + 1) + objects)
    # A threshold keeps all of equal score.
    f1[:-1][scores[:-1] == scores[1:]] = -1.0
    place = int(f1.argmax())
    return BestThreshold(
        category_id=category_id,
        objects=objects,
        detections=len(scores),
        threshold=float(scores[place]),
        precision=float(true[place] / (place + 1)),
        recall=float(true[place] / objects),
        f1=float(f1[place]),
    )


#: Why no threshold is best where there are detections alone.
NO_OBJECT = "no object"


def _reason(objects: int, detections: int) -> str:
    """Why no threshold is best."""
    lacking = [
        name for name, count in (("object", objects), ("detection", detections)) if not count
    ]
    return f"no {' and no '.join(lacking)}" if lacking else "no true positive"


def calibration(found: Matching) -> Calibration:
    """How far scores are from the share of true positives among the detections that have them."""
    counted = ~found.ignored
    scores, hits = found.score[counted], found.hit[counted]
    numbers = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    count = np.bincount(numbers, minlength=BINS)
    total = np.bincount(numbers, weights=scores, minlength=BINS)
    right = np.bincount(numbers, weights=hits, minlength=BINS)
    bins = tuple(
        CalibrationBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            detections=int(count[number]),
            mean_score=_share(float(total[number]), int(count[number])),
            precision=_share(float(right[number]), int(count[number])),
        )
        for number in range(BINS)
    )
    return Calibration(
        bins=bins, expected_error=_share(float(np.abs(total - right).sum()), len(scores))
    )


def confusions(found: Matching, threshold: float) -> tuple[Confusion, ...]:
    """How often each pair of categories was confused, the most frequent first.

    True positives are pairs of a category with itself. A classification error is a pair of two
    categories; other false positives are detections of the background, and objects without a match
    are not detected. An object may be in several classification errors.

    Args:
        found: The matching.
        threshold: Detections that score less are left out.
    """
    kept = (found.score >= threshold) & ~found.ignored
    counts: Counter[tuple[int, int]] = Counter()
    background = len(found.category_ids)
    truth = np.full(len(found.rows), background)
    named = found.hit | (found.error == CLASSIFICATION)
    truth[named] = found.object_class_index[found.target[named]]
    counts.update(zip(truth[kept].tolist(), found.class_index[kept].tolist(), strict=True))
    lacking = found.object_class_index[~_matched(found, kept)]
    counts.update((one, background) for one in lacking.tolist())
    ids = (*found.category_ids, None)
    return tuple(
        Confusion(truth=ids[one], predicted=ids[other], count=count)
        for (one, other), count in sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    )


def image_errors(
    found: Matching, image_ids: Sequence[int], threshold: float
) -> tuple[ImageErrors, ...]:
    """Counts of each image, the most errors first.

    Args:
        found: The matching.
        image_ids: Those that it was made with.
        threshold: Detections that score less are left out.
    """
    kept = (found.score >= threshold) & ~found.ignored
    lacking = ~_matched(found, kept)
    counts = [
        np.bincount(images, minlength=len(image_ids)).tolist()
        for images in (
            found.image[kept & found.hit],
            found.image[kept & ~found.hit],
            found.object_image[lacking],
        )
    ]
    rows = [
        ImageErrors(
            image_id=image_id, true_positives=right, false_positives=wrong, false_negatives=none
        )
        for image_id, right, wrong, none in zip(image_ids, *counts, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.errors, row.image_id)))


def _matched(found: Matching, kept: Bools) -> Bools:
    """(M,) whether a detection that is kept matches the object."""
    matched = np.zeros(len(found.object_rows), dtype=bool)
    matched[found.target[found.hit & kept]] = True
    return matched


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
