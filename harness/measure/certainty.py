"""How sure the APs of a run are: the intervals of its scores, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from harness.core.collector import collector_paused
from harness.core.record import MetricInterval
from harness.core.tasks import Task
from harness.measure.bootstrap import SEED, Intervals, intervals_of
from harness.measure.coco import Scores
from harness.measure.columns import category_positions
from harness.measure.resampling import matches_by_size


def with_intervals(
    scores: Scores,
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    resamples: int,
    threads: int = 1,
) -> Scores:
    """The same scores with the 95 % interval of every AP.

    Args:
        scores: Of the same predictions; its numbers stay as they are.
        annotations: Of ``data.coco.read_annotations``.
        predictions: Valid COCO results.
        tasks: Boxes, masks, or both.
        image_ids: The images that were scored.
        resamples: Draws of the bootstrap; 0 for no intervals.
        threads: How many to compute on at once.
    """
    if resamples == 0 or not image_ids:
        return scores
    drawn = _drawn(annotations, predictions, tasks, image_ids, resamples, threads)
    metrics: dict[str, MetricInterval] = {}
    categories: dict[tuple[str, int], MetricInterval] = {}
    positions = category_positions(annotations)
    for task, found in drawn.items():
        metrics |= {f"{task}/{name}": one for name, one in found.metrics.items()}
        for category_id, position in positions.items():
            if position in found.categories:
                categories[task, category_id] = found.categories[position]
    return replace(
        scores,
        intervals={name: metrics[name] for name in scores.metrics if name in metrics},
        per_category=tuple(
            replace(row, interval=categories.get((row.task, row.category_id)))
            for row in scores.per_category
        ),
    )


def _drawn(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    resamples: int,
    threads: int,
) -> dict[Task, Intervals]:
    """The intervals of each task: one is matched while data sets are drawn for the one before."""
    drawn: dict[Task, Future[Intervals]] = {}
    with ThreadPoolExecutor(1) as beside:
        for task in tasks:
            with collector_paused():
                matches = matches_by_size(annotations, predictions, task, image_ids)
            drawn[task] = beside.submit(
                intervals_of,
                matches,
                images=len(image_ids),
                resamples=resamples,
                seed=SEED,
                threads=threads,
            )
    return {task: waiting.result() for task, waiting in drawn.items()}
