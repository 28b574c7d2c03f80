"""A sweep's cells in AP, and what each costs against the reference cell on the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.coco import read_annotations
from harness.files.atomic import write_text
from harness.files.environment import usable_cpus
from harness.files.json import dumps, read, to_plain, to_typed
from harness.measure.bootstrap import Interval, Matches, compare_paired, matches_of
from harness.measure.coco import check_coverage, score
from harness.measure.evaluators import Task
from harness.pipeline.compare import SEED
from harness.pipeline.resolve import Job
from harness.pipeline.run_files import PREDICTIONS
from harness.pipeline.shards import read_lines, shard_paths, write_predictions

ACCURACY = "accuracy.json"

#: Draws of the paired bootstrap, as many as ``harness compare`` makes.
RESAMPLES = 200

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """``accuracy.json``: ap and delta of a SweepCell."""

    ap: dict[str, float | None]
    delta: dict[str, Interval | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """What the cells are held against: the ground truth, and the reference cell's answers to it."""

    annotations: Mapping[str, Any]
    image_ids: Sequence[int]
    predictions: Rows
    matches: Mapping[Task, Sequence[Matches]]


def standard_of(job: Job, reference: Path) -> Standard:
    """The standard that the finished reference cell in the folder ``reference`` sets."""
    annotations = read_annotations(job.dataset.annotations_path)
    predictions = _merged(job, reference)
    return Standard(
        annotations=annotations,
        image_ids=job.dataset.image_ids,
        predictions=predictions,
        matches={
            task: matches_of(annotations, predictions, task, job.dataset.image_ids)
            for task in job.architecture.tasks
        },
    )


def accuracy_of(job: Job, standard: Standard, folder: Path) -> Accuracy:
    """The accuracy of the finished cell in ``folder``; told once, then kept there."""
    path = folder / ACCURACY
    if path.exists():
        return to_typed(Accuracy, read(path), where=str(path))
    predictions = _merged(job, folder)
    tasks = job.architecture.tasks
    metrics = score(
        standard.annotations,
        predictions,
        tasks=tasks,
        image_ids=standard.image_ids,
        processes=usable_cpus(),
    ).metrics
    found = Accuracy(
        ap={f"{task}/AP": metrics[f"{task}/AP"] for task in tasks},
        delta={f"{task}/AP": _delta(standard, predictions, task) for task in tasks},
    )
    write_text(path, dumps(to_plain(found), indent=2) + "\n")
    return found


def _merged(job: Job, folder: Path) -> Rows:
    lines = read_lines(shard_paths(folder))
    check_coverage(job.dataset.image_ids, [line["image_id"] for line in lines])
    return write_predictions(folder / PREDICTIONS, lines)


def _delta(standard: Standard, predictions: Rows, task: Task) -> Interval | None:
    """None where the images have no ground truth."""
    own = standard.matches[task]
    if predictions != standard.predictions:
        own = matches_of(standard.annotations, predictions, task, standard.image_ids)
    found = compare_paired(
        standard.matches[task],
        own,
        images=len(standard.image_ids),
        resamples=RESAMPLES,
        seed=SEED,
        advance=lambda _: None,
    )["AP"]
    return None if math.isnan(found.difference) or math.isnan(found.low) else found
