"""``harness compare``: two runs or two files of predictions, and the page of what changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.requests.pictures import CompareRequest
from harness.core.requests.reports import ClassIds
from harness.data.coco import read_annotations
from harness.files.environment import usable_cpus
from harness.measure.coco import score
from harness.workflows.comparison.images import write_page
from harness.workflows.comparison.runs import (
    SHOWN,
    Comparison,
    category_changes,
    compare_runs,
    differences,
    having_alone,
    metric_changes,
)
from harness.workflows.evaluation.score import tasks_of
from harness.workflows.runs.folder import evaluation_of
from harness.workflows.runs.panoptic_files import PANOPTIC_FILE
from harness.workflows.runs.results_files import read_source
from harness.workflows.runs.same_predictions import differing_images


def compare(request: CompareRequest, progress: Progress) -> Comparison:
    """Compare two evaluations of the same images, and write a page where one is asked for.

    Args:
        request: The settings.
        progress: Receives progress.

    Raises:
        UsageError: Settings of files are given for runs, or the two cannot be compared.
        IntegrityError: A file is damaged, or is no longer what a run was evaluated on.
    """
    pair = (request.first, request.second)
    draws = request.resamples
    if are_files(*pair):
        classes = request.foreign.class_ids
        found = compare_files(
            *pair, request.annotations, resamples=draws, progress=progress, classes=classes
        )
    elif request.annotations is not None:
        raise UsageError(
            "two runs are compared on the annotations that they were evaluated on",
            hint="leave out --annotations, or name the files: RUN/predictions.json",
        )
    else:
        request.foreign.require_none()
        pair = (evaluation_of(request.first), evaluation_of(request.second))
        found = compare_runs(*pair, resamples=draws, progress=progress)
    if request.html is not None:
        write_page(found, *pair, request.html, threshold=request.threshold, progress=progress)
    return found


def are_files(first: Path, second: Path) -> bool:
    """Return whether one of both is a file and no run folder."""
    return first.is_file() or second.is_file()


def compare_files(
    first: Path,
    second: Path,
    annotations: Path | None,
    *,
    resamples: int,
    progress: Progress,
    classes: ClassIds = "auto",
) -> Comparison:
    """Compare the predictions of two files, or of a file and a run folder.

    Both are scored on all images of the annotation file; nothing is known of how they were made.

    Args:
        first: A file of predictions, or a run folder.
        second: Another one.
        annotations: The annotation file of both.
        resamples: Draws of the paired bootstrap; 0 for none.
        progress: Receives notices and progress.
        classes: What the category ids of the files are; those of a run folder are known.

    Raises:
        UsageError: There is no annotation file, or no predictions.
        IntegrityError: Predictions are not valid for the annotations.
    """
    content = _annotations(annotations)
    predictions = [_rows_of(one, content, classes, progress) for one in (first, second)]
    tasks = [task for task in tasks_of(predictions[0]) if task in tasks_of(predictions[1])]
    ids = sorted(image["id"] for image in content["images"])
    scores = [
        score(content, rows, tasks=tasks, image_ids=ids, processes=usable_cpus())
        for rows in predictions
    ]
    sure = differences(
        content, predictions, tasks, images=len(ids), resamples=resamples, progress=progress
    )
    changed = differing_images(*predictions)
    return Comparison(
        first=str(first),
        second=str(second),
        facts=(),
        metrics=metric_changes(scores[0].metrics, scores[1].metrics, sure),
        categories=category_changes(scores[0].per_category, scores[1].per_category, content, sure),
        images=tuple(sorted(changed.items(), key=lambda one: (-one[1], one[0]))[:SHOWN]),
        differing_images=len(changed),
        first_differing=min(changed, default=None),
        maps_of_one=having_alone(*((one / PANOPTIC_FILE).is_file() for one in (first, second))),
    )


def _annotations(path: Path | None) -> dict[str, Any]:
    if path is None:
        raise UsageError(
            "files of predictions are compared on their annotation file",
            hint="give it with --annotations FILE",
        )
    return read_annotations(path)


def _rows_of(
    source: Path, content: Mapping[str, Any], classes: ClassIds, progress: Progress
) -> list[dict[str, Any]]:
    """The predictions of a file or a run folder; what was assumed of them is reported."""
    found = read_source(source, content, classes)
    for sentence in found.assumed:
        progress.notice(f"note: {source}: {sentence}")
    return found.rows
