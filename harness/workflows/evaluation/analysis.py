"""``harness analyze``: why an AP is what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.record import DatasetFacts
from harness.core.requests.reports import AnalyzeRequest
from harness.files.environment import usable_cpus
from harness.measure.analysis import TaskAnalysis, analyze_tasks
from harness.measure.boundary import boundary_metrics
from harness.measure.coco import Scores, score
from harness.workflows.evaluation.score import of_proposals, read_sources, tasks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What ``harness analyze`` found."""

    dataset: DatasetFacts
    """The data set; with what is odd about it."""
    predictions: int
    """Rows of the predictions, of the images that count."""
    threshold: float
    """Score from which detections count for confusions and for the errors of an image."""
    metrics: dict[str, float | None]
    """COCO metrics by name, AP 0-100."""
    categories: dict[int, str]
    """Names by category id."""
    tasks: tuple[TaskAnalysis, ...]
    """Boxes, masks, or both."""


def analyze(request: AnalyzeRequest, *, progress: Progress) -> Analysis:
    """Analyze a run, finished or not yet recorded, or a file of predictions.

    Raises:
        UsageError: Nothing to analyze, or a run that is unfinished.
        IntegrityError: A file is damaged, or not that of the run.
    """
    if of_proposals(request.saved.run):
        raise UsageError("proposals have no class, and so no AP to be explained")
    content, _, predictions, facts = read_sources(request.saved, "analyze")
    image_ids = sorted(image["id"] for image in content["images"])[: facts.evaluated_images]
    tasks = tasks_of(predictions)
    with progress.task("analyze", total=2 * len(tasks), unit="steps") as advance:
        scores = score(
            content, predictions, tasks=tasks, image_ids=image_ids, processes=usable_cpus()
        )
        advance(len(tasks))
        analyzed = analyze_tasks(
            content,
            predictions,
            scores.curves,
            image_ids,
            threshold=request.threshold,
            advance=advance,
        )
    found = analysis_of(content, predictions, scores, analyzed, facts, request.threshold)
    if not request.boundary:
        return found
    if "segm" not in tasks:
        raise UsageError("the predictions have no masks", hint="leave out --boundary")
    boundary = boundary_metrics(content, predictions, image_ids)
    return replace(found, metrics={**found.metrics, **boundary})


def analysis_of(
    content: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    scores: Scores,
    analyzed: tuple[TaskAnalysis, ...],
    facts: DatasetFacts,
    threshold: float,
) -> Analysis:
    """Put an analysis together.

    Args:
        content: The annotations.
        predictions: Of the analyzed images.
        scores: Of the same predictions.
        analyzed: Each task.
        facts: The data set.
        threshold: That the tasks were analyzed with.
    """
    return Analysis(
        dataset=facts,
        predictions=len(predictions),
        threshold=threshold,
        metrics=scores.metrics,
        categories={one["id"]: one["name"] for one in content["categories"]},
        tasks=analyzed,
    )
