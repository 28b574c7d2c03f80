"""Why an AP is what it is: errors by type, curves, thresholds, calibration and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.garbage_collection import collector_paused
from harness.core.tasks import Task
from harness.measure.coco import PrecisionCurves
from harness.measure.matching import Matching, match_images
from harness.measure.operating import (
    BestThreshold,
    Calibration,
    Confusion,
    ImageErrors,
    ScoreCurves,
    best_thresholds,
    calibration,
    confusions,
    image_errors,
    score_curves,
)
from harness.measure.tide import ErrorAnalysis, analyze_errors

#: What TIDE's errors are defined for.
ANALYZED_TASKS: tuple[Task, ...] = ("bbox", "segm")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnalysis:
    """One task."""

    task: Task
    """Boxes or masks."""
    precision: PrecisionCurves
    """Of COCO's AP, over IoU thresholds and recall."""
    errors: ErrorAnalysis
    """What each type of error costs."""
    scores: ScoreCurves
    """Precision, recall and F1 by threshold."""
    thresholds: tuple[BestThreshold, ...]
    """Of all categories together, then of each."""
    calibration: Calibration
    """Whether a score is a probability."""
    confusions: tuple[Confusion, ...]
    """Pairs of categories, the most frequent first."""
    images: tuple[ImageErrors, ...]
    """Every image, the most errors first."""


def analyze_tasks(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    curves: Sequence[PrecisionCurves],
    image_ids: Sequence[int],
    *,
    threshold: float,
) -> tuple[TaskAnalysis, ...]:
    """Analyze boxes and masks, where they were scored.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        curves: As returned by ``measure.coco.score``, for the same predictions and images.
        image_ids: The images that were scored.
        threshold: Score that counts for confusions, and for the errors of an image, 0 to 1.
    """
    analyses = []
    with collector_paused():
        for one in curves:
            if one.task not in ANALYZED_TASKS:
                continue
            found = match_images(annotations, predictions, one.task, image_ids)
            analyses.append(analyze_task(found, one, image_ids, threshold))
    return tuple(analyses)


def analyze_task(
    found: Matching, precision: PrecisionCurves, image_ids: Sequence[int], threshold: float
) -> TaskAnalysis:
    """Analyze one task.

    Args:
        found: Its detections and objects.
        precision: Its curves.
        image_ids: The images that were scored.
        threshold: Score that counts for confusions, and for the errors of an image, 0 to 1.
    """
    return TaskAnalysis(
        task=precision.task,
        precision=precision,
        errors=analyze_errors(found),
        scores=score_curves(found),
        thresholds=best_thresholds(found),
        calibration=calibration(found),
        confusions=confusions(found, threshold),
        images=image_errors(found, image_ids, threshold),
    )
