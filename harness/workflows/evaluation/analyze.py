"""``harness analyze``: what the AP of saved predictions is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.record import DatasetFacts
from harness.core.requests.reports import AnalyzeRequest
from harness.files.environment import usable_cpus
from harness.measure.analysis import TaskAnalysis
from harness.measure.evaluators import boundary_metrics
from harness.measure.parallel import Wanted, measuring
from harness.workflows.evaluation.score import of_proposals, read_sources, tasks_of
from harness.workflows.runs.same_data import scored_images


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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

    def __repr__(self) -> str:
        """What was analyzed: all curves would be screens of text."""
        tasks = " and ".join(one.task for one in self.tasks)
        return f"<Analysis of {self.predictions:,} predictions, {self.dataset.name}: {tasks}>"


def analyze(request: AnalyzeRequest, *, progress: Progress) -> Analysis:
    """Analyze a run, finished or not yet recorded, or a file of predictions.

    Raises:
        UsageError: Nothing to analyze, or a run that is unfinished.
        IntegrityError: A file is damaged, or not that of the run.
    """
    if of_proposals(request.saved.run):
        raise UsageError("proposals have no class, and so no AP to be explained")
    content, _, predictions, facts = read_sources(request.saved, "analyze")
    image_ids = scored_images(content, facts)
    tasks = tasks_of(predictions)
    if request.boundary and "segm" not in tasks:
        raise UsageError("the predictions have no masks", hint="leave out --boundary")
    wanted = Wanted(
        annotations=content,
        predictions=predictions,
        tasks=tasks,
        image_ids=image_ids,
        threshold=request.threshold,
    )
    with (
        progress.task("analyze", total=2, unit="steps") as advance,
        measuring(wanted, processes=usable_cpus()) as measured,
    ):
        scores = measured.scores()
        advance(1)
        analyzed = measured.analyses(scores.curves)
        advance(1)
    found = Analysis(
        dataset=facts,
        predictions=len(predictions),
        threshold=request.threshold,
        metrics=scores.metrics,
        categories={one["id"]: one["name"] for one in content["categories"]},
        tasks=analyzed,
    )
    if not request.boundary:
        return found
    boundary = boundary_metrics(content, predictions, image_ids)
    return replace(found, metrics={**found.metrics, **boundary})
