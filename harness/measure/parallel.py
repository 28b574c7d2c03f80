"""COCO metrics, their intervals and their analysis; in several processes where rows are many.

Of few predictions everything is computed here, when it is asked for. Of many, processes begin at
once: first they compare masks and boxes, a chunk of images each; then they draw intervals, count
errors, and score some categories each. What an evaluator finds does not depend on what is beside
it, so that the numbers are the same, bit for bit, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from harness.core.garbage_collection import collector_paused
from harness.core.requests.inference import Evaluator
from harness.core.tasks import Task
from harness.measure import coco
from harness.measure.analysis import (
    ANALYZED_TASKS,
    TaskAnalysis,
    analyze_task,
    analyze_tasks,
)
from harness.measure.bootstrap import SEED, Intervals, intervals_of
from harness.measure.children import Children, children
from harness.measure.chunks import (
    Compared,
    chunks_of,
    compare,
    joined_chunks,
    results_of_table,
)
from harness.measure.coco import (
    PrecisionCurves,
    Scores,
    kept_predictions,
    score,
    scores_of,
    with_drawn,
    with_intervals,
)
from harness.measure.columns import Objects, Results
from harness.measure.greedy import Pairs, kept_detections, match_pairs
from harness.measure.matching import Matching
from harness.measure.portions import Scored, portions_of, score_all, score_portion
from harness.measure.resampling import Matches, matches_by_size, matches_from
from harness.measure.scoring_processes import Asked, joined_parts, partitioned
from harness.measure.table import table_of

#: Jobs for each process: the more, the less one waits for the others in the end.
JOBS_EACH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be found out about predictions."""

    annotations: Mapping[str, Any]
    """Of ``data.coco.read_annotations``."""
    predictions: Sequence[Mapping[str, Any]]
    """Valid COCO results, all with the same keys."""
    tasks: tuple[Task, ...]
    """Boxes, masks, keypoints, or several of them."""
    image_ids: Sequence[int]
    """The images that are scored."""
    evaluator: Evaluator = "fast"
    """What scores them."""
    resamples: int = 0
    """Draws for the intervals; 0 for none."""
    threshold: float | None = None
    """Score that counts for confusions, and for the errors of an image; None for no analysis."""


class Measuring:
    """What is being found out, in this process.

    Attributes:
        wanted: What.
    """

    def __init__(self, wanted: Wanted, processes: int) -> None:
        self.wanted, self._processes = wanted, processes

    def begin(self) -> None:
        """Begin what other processes compute; nothing is computed here."""

    def scores(self) -> Scores:
        """The numbers, without intervals.

        Raises:
            IntegrityError: Predictions of images or categories that the annotations do not have.
            RunFailedError: Both evaluators run and differ, or a process ends without a result.
        """
        wanted = self.wanted
        return score(
            wanted.annotations,
            wanted.predictions,
            tasks=wanted.tasks,
            image_ids=wanted.image_ids,
            evaluator=wanted.evaluator,
            processes=self._processes,
        )

    def with_intervals(self, scores: Scores) -> Scores:
        """The same numbers with the 95 % interval of every AP.

        Args:
            scores: As returned by ``scores``.
        """
        wanted = self.wanted
        return with_intervals(
            scores,
            wanted.annotations,
            wanted.predictions,
            tasks=wanted.tasks,
            image_ids=wanted.image_ids,
            resamples=wanted.resamples,
            threads=self._processes,
        )

    def analyses(self, curves: Sequence[PrecisionCurves]) -> tuple[TaskAnalysis, ...]:
        """Why the numbers are what they are, of boxes and masks.

        Args:
            curves: As returned by ``scores``.
        """
        wanted = self.wanted
        if wanted.threshold is None:
            return ()
        return analyze_tasks(
            wanted.annotations,
            wanted.predictions,
            curves,
            wanted.image_ids,
            threshold=wanted.threshold,
        )


@contextmanager
def ready_children(predictions: int, processes: int) -> Iterator[Children | None]:
    """Begin the processes of ``measuring`` before there is work for them: their imports take time.

    Args:
        predictions: How many there are.
        processes: As of ``measuring``.

    Yields:
        The processes, which are ended with the block; None where there are too few predictions.
    """
    count = _worth(predictions, processes)
    if count < 2:
        yield None
        return
    with children(count) as pool:
        for number in range(count):
            pool.submit(_imported, number)
        yield pool


def _imported(number: int) -> int:
    """Have this module imported in a process, and what it compares masks with."""
    import pycocotools.mask  # noqa: F401

    return number


def _worth(predictions: int, processes: int) -> int:
    """Return how many processes are worth their start."""
    return min(processes, predictions // coco.LEAST_PREDICTIONS)


@contextmanager
def measuring(
    wanted: Wanted, *, processes: int = 1, ready: Children | None = None
) -> Iterator[Measuring]:
    """Begin to find out what is wanted; processes are ended with the block.

    Args:
        wanted: What.
        processes: How many may be used; few predictions are not worth one.
        ready: Of ``ready_children`` for as many predictions and processes; None to begin them.

    Raises:
        IntegrityError: Predictions of images or categories that the annotations do not have.
    """
    count = _worth(len(wanted.predictions), processes)
    if count < 2 or not wanted.image_ids:
        yield Measuring(wanted, processes)
        return
    kept = kept_predictions(wanted.annotations, wanted.predictions, wanted.image_ids)
    with children(count) if ready is None else nullcontext(ready) as pool:
        with collector_paused():
            found = _InProcesses(replace(wanted, predictions=kept), pool, count)
        yield found


class _InProcesses(Measuring):
    """What `Measuring` does, in several processes."""

    def __init__(self, wanted: Wanted, pool: Children, processes: int) -> None:
        super().__init__(wanted, processes)
        self._pool, self._count = pool, processes * JOBS_EACH
        self._table = table_of(wanted.annotations, wanted.predictions, wanted.image_ids)
        chunks = chunks_of(
            wanted.annotations,
            wanted.image_ids,
            self._table,
            [task for task in wanted.tasks if task in ANALYZED_TASKS],
            count=self._count,
            analyzed=wanted.threshold is not None,
        )
        self._compared = [pool.submit(compare, one) for one in chunks]
        self._drawn: dict[Task, Future[Intervals]] = {}
        self._errors: dict[Task, Future[TaskAnalysis] | Exception | None] = {}
        self._curves: list[Future[list[Scored]]] = []

    def scores(self) -> Scores:
        """See ``Measuring``."""
        self.begin()
        wanted = self.wanted
        if wanted.evaluator != "fast":
            return super().scores()
        parts = [part for waiting in self._curves for part in waiting.result()]
        curves = joined_parts(parts)
        return scores_of(wanted.annotations, {task: curves[task] for task in wanted.tasks})

    def with_intervals(self, scores: Scores) -> Scores:
        """See ``Measuring``."""
        self.begin()
        drawn = {task: waiting.result() for task, waiting in self._drawn.items()}
        return with_drawn(scores, self.wanted.annotations, drawn) if drawn else scores

    def analyses(self, curves: Sequence[PrecisionCurves]) -> tuple[TaskAnalysis, ...]:
        """See ``Measuring``."""
        self.begin()
        found = []
        for one in curves:
            waiting = self._errors.get(one.task)
            if isinstance(waiting, Exception):
                raise waiting
            if waiting is not None:
                found.append(replace(waiting.result(), precision=one))
        return tuple(found)

    def begin(self) -> None:
        """See ``Measuring``: begin what needs the comparison of all images, once."""
        if not self._compared:
            return
        wanted = self.wanted
        with collector_paused():
            parts = [waiting.result() for waiting in self._compared]
            self._compared = []
            joined = {
                task: joined_chunks([part[task] for part in parts], self._table)
                for task in parts[0]
            }
            if wanted.resamples and wanted.annotations["categories"]:
                for task in wanted.tasks:
                    self._drawn[task] = self._intervals(task, joined.get(task))
            for task, one in joined.items():
                self._errors[task] = self._analysis(task, one)
            if wanted.evaluator == "fast":
                self._begin_scoring(joined)

    def _begin_scoring(self, compared: Mapping[Task, Compared]) -> None:
        wanted, ids = self.wanted, self.wanted.image_ids
        portions = portions_of(wanted.annotations, ids, compared, self._table, self._count)
        self._curves = [self._pool.submit(score_portion, one) for one in portions]
        others = tuple(task for task in wanted.tasks if task not in compared)
        for shares in partitioned(
            wanted.annotations,
            wanted.predictions,
            others,
            image_ids=ids,
            evaluator="fast",
            processes=1,
        ):
            self._curves.append(self._pool.submit(score_all, shares))

    def _intervals(self, task: Task, found: Compared | None) -> Future[Intervals]:
        wanted = self.wanted
        threads = max(1, self._processes // len(wanted.tasks))
        drawing = Drawing(images=len(wanted.image_ids), resamples=wanted.resamples, threads=threads)
        if found is None:
            rows, images = wanted.predictions, tuple(wanted.image_ids)
            asked = wanted.annotations, rows, task, images
            return self._pool.submit(draw_keypoints, (asked, drawing))
        categories = len(wanted.annotations["categories"])
        light = replace(
            results_of_table(replace(self._table, counts=None), task), area_px=found.area_px
        )
        matched = found.objects, light, found.pairs, categories
        return self._pool.submit(draw, (matched, drawing))

    def _analysis(self, task: Task, found: Compared) -> Future[TaskAnalysis] | Exception | None:
        wanted = self.wanted
        if found.errors is None or isinstance(found.errors, Exception):
            return found.errors
        images = tuple(wanted.image_ids)
        return self._pool.submit(analyze, (task, found.errors, images, wanted.threshold))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How intervals are drawn."""

    images: int
    """How many images there are."""
    resamples: int
    """How many data sets to draw."""
    threads: int
    """How many to compute on at once."""

    def intervals(self, matches: Mapping[str, Sequence[Matches]]) -> Intervals:
        """The intervals of one task.

        Args:
            matches: As returned by ``measure.resampling``.
        """
        return intervals_of(
            matches,
            images=self.images,
            resamples=self.resamples,
            seed=SEED,
            threads=self.threads,
        )


def draw(asked: tuple[tuple[Objects, Results, Pairs, int], Drawing]) -> Intervals:
    """Draw the intervals of boxes or masks that were compared.

    Args:
        asked: Objects, detections, their pairs, and the number of categories; how to draw.
    """
    (objects, results, pairs, categories), drawing = asked
    matching = match_pairs(objects, results, kept_detections(results), pairs)
    return drawing.intervals(matches_from(objects, results, matching, categories))


def draw_keypoints(asked: tuple[Asked, Drawing]) -> Intervals:
    """Draw the intervals of what was not compared.

    Args:
        asked: Annotations, predictions, task and image ids; how to draw.
    """
    (annotations, predictions, task, image_ids), drawing = asked
    return drawing.intervals(matches_by_size(annotations, predictions, task, image_ids))


def analyze(asked: tuple[Task, Matching, tuple[int, ...], float]) -> TaskAnalysis:
    """Analyze a task; its curves are still lacking.

    Args:
        asked: The task, its detections and objects, the images, and the threshold.
    """
    task, found, image_ids, threshold = asked
    lacking = PrecisionCurves(task=task, ap_by_iou={}, precision={})
    return analyze_task(found, lacking, image_ids, threshold)
