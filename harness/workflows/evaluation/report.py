"""The report of a run: written beside its record, and made again by ``harness report``.

``harness analyze`` has the same analysis, of any saved predictions.
"""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.dataset import ImageRecord
from harness.core.drawing import DEFAULT_STYLE
from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress, Silent
from harness.core.record import DatasetFacts, RunRecord
from harness.core.requests.reports import AnalyzeRequest, ReportRequest
from harness.core.tasks import are_proposals
from harness.data.images import load_image
from harness.data.predictions import read_predictions
from harness.data.proven import read_annotations_of
from harness.files.atomic import write_text
from harness.files.environment import usable_cpus
from harness.files.failures import disk_errors, reason_of
from harness.measure.analysis import TaskAnalysis
from harness.measure.evaluators import boundary_metrics
from harness.measure.matching import judge_images
from harness.measure.operating import ImageErrors
from harness.measure.side_by_side import Wanted, measuring
from harness.report.run_page import ReportContent, WorstImage, run_page
from harness.visualization.image_files import SMALL_PAIR_PX, write_picture
from harness.visualization.panels import draw_judged
from harness.workflows.evaluation.score import of_proposals, read_sources, tasks_of
from harness.workflows.runs.files import PAGE, PREDICTIONS, RECORD, RUN_PAGE, is_finished
from harness.workflows.runs.folder import read_record, require_own_predictions

Row = Mapping[str, Any]

#: Images that are drawn, the worst.
SHOWN_IMAGES = 12

#: Score from which detections are drawn and counted as errors, as ``harness show`` has it.
THRESHOLD = DEFAULT_STYLE.threshold

#: Folder of drawings of ``harness show``, below a run's.
PICTURES, SMALL = "show/pictures", "show/small"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """A report that was written."""

    page: str
    """The page."""
    analyzed: bool
    """Whether it has an analysis of predictions."""
    images: int
    """How many images are on it."""
    notes: tuple[str, ...]
    """What it could not show, and why."""


def report(request: ReportRequest, *, progress: Progress) -> ReportResult:
    """Write the page of a finished run again.

    Raises:
        UsageError: The folder has no record of a run.
        IntegrityError: Its record or its predictions are damaged.
    """
    folder = request.run
    if not (folder / RECORD).is_file():
        hint = f"its page: {folder / PAGE}" if (folder / PAGE).is_file() else None
        state = "no finished run" if not is_finished(folder) else "a run without a record"
        raise UsageError(f"{folder} holds {state}", hint=hint or "runs are made by: harness eval")
    record = read_record(folder)
    page = request.output or folder / RUN_PAGE
    why_not = _unanalyzable(folder, record)
    if why_not:
        return _written(page, _bare(folder, record, why_not))
    unknown = require_own_predictions(folder)
    try:
        content = read_annotations_of(record.dataset, "score it against another: harness score")
    except HarnessError as error:
        return _written(page, _bare(folder, record, f"{error.message}."))
    predictions = read_predictions(folder / PREDICTIONS, content)
    image_ids = _image_ids(content, record)
    wanted = Wanted(
        annotations=content,
        predictions=predictions,
        tasks=tasks_of(predictions),
        image_ids=image_ids,
        threshold=THRESHOLD,
    )
    with (
        progress.task("report", total=3, unit="steps") as advance,
        measuring(wanted, processes=usable_cpus()) as measured,
    ):
        curves = measured.scores().curves
        advance(1)
        tasks = measured.analyses(curves)
        found = _content(folder, page, record, content, predictions, tasks)
        advance(1)
        if unknown is not None:
            found = replace(found, image_notes=(*found.image_notes, f"{unknown}."))
        result = _written(page, found)
        advance(1)
    return result


def write_report(
    folder: Path,
    record: RunRecord,
    content: Mapping[str, Any],
    predictions: Sequence[Row],
    analyses: Callable[[], tuple[TaskAnalysis, ...]],
    progress: Progress,
) -> None:
    """Write the page of a run that has just finished; what goes wrong is reported, no more.

    Args:
        folder: The run folder, which has its record.
        record: Of the run.
        content: The annotations.
        predictions: Valid COCO results.
        analyses: Returns what was analyzed of them.
        progress: Where notices go.
    """
    page = folder / RUN_PAGE
    with _faults_noticed(progress):
        _written(page, _content(folder, page, record, content, predictions, analyses()))


def write_report_again(folder: Path, progress: Progress) -> None:
    """Write the page of a run that finished some time ago; what goes wrong is reported, no more.

    Args:
        folder: The run folder, which has its record.
        progress: Where notices go.
    """
    with _faults_noticed(progress):
        report(ReportRequest(run=folder), progress=Silent())


@contextmanager
def _faults_noticed(progress: Progress) -> Iterator[None]:
    """Report an error in the block: the run is finished, whatever becomes of its page."""
    try:
        yield
    except HarnessError as error:
        progress.notice(f"no report: {error.message}")
    except Exception as error:
        progress.notice(f"no report: {reason_of(error)}")


def _unanalyzable(folder: Path, record: RunRecord) -> str:
    """Why there is nothing to analyze; empty where there is."""
    if record.kind == "bench":
        return "A speed run keeps no predictions."
    if are_proposals(record.metrics):
        return "Proposals have no class, and so no AP to be explained."
    if not (folder / PREDICTIONS).is_file():
        return f"There are no predictions in {folder}."
    return ""


def _bare(folder: Path, record: RunRecord, why_not: str) -> ReportContent:
    return ReportContent(
        record=record,
        folder=str(folder),
        names={},
        tasks=(),
        threshold=THRESHOLD,
        why_not=why_not,
        image_notes=(why_not,),
    )


def _content(
    folder: Path,
    page: Path,
    record: RunRecord,
    content: Mapping[str, Any],
    predictions: Sequence[Row],
    tasks: tuple[TaskAnalysis, ...],
) -> ReportContent:
    names = {one["id"]: one["name"] for one in content["categories"]}
    images, notes = _worst_images(folder, page, record, content, predictions, tasks)
    return ReportContent(
        record=record,
        folder=str(folder),
        names=names,
        tasks=tasks,
        threshold=THRESHOLD,
        images=images,
        image_notes=notes,
    )


def _image_ids(content: Mapping[str, Any], record: RunRecord) -> list[int]:
    """The evaluated images, by id."""
    return sorted(image["id"] for image in content["images"])[: record.dataset.evaluated_images]


def _written(page: Path, content: ReportContent) -> ReportResult:
    with disk_errors(page.parent):
        write_text(page, run_page(content))
    return ReportResult(
        page=str(page),
        analyzed=bool(content.tasks),
        images=len(content.images),
        notes=tuple(dict.fromkeys(filter(None, (content.why_not, *content.image_notes)))),
    )


def _worst_images(
    folder: Path,
    page: Path,
    record: RunRecord,
    content: Mapping[str, Any],
    predictions: Sequence[Row],
    tasks: Sequence[TaskAnalysis],
) -> tuple[tuple[WorstImage, ...], tuple[str, ...]]:
    """The images with most errors, drawn, and sentences about them."""
    if not tasks:
        return (), ("There is nothing to draw.",)
    task = tasks[0]
    worst = [one for one in task.images if one.errors][:SHOWN_IMAGES]
    if not worst:
        return (), (f"No image has an error among detections that score {THRESHOLD:g} or more.",)
    painter = _Painter(folder, page, record, content, predictions, task, worst)
    with ThreadPoolExecutor(usable_cpus()) as pool:
        drawn = list(pool.map(painter.draw, worst))
    images = tuple(one for one in drawn if isinstance(one, WorstImage))
    faults = [one for one in drawn if isinstance(one, str)]
    notes = [
        f"The {len(images)} images with most errors, of {len(task.images):,}; detections that "
        f"score at least {THRESHOLD:g}, matched at an IoU of 0.5."
    ] * bool(images)
    if faults:
        notes.append(
            f"{len(faults)} of the worst images could not be drawn; the first: {faults[0]}."
        )
    return images, tuple(notes)


class _Painter:
    """Draws the worst images of a run, each once, as ``harness show`` would."""

    def __init__(
        self,
        folder: Path,
        page: Path,
        record: RunRecord,
        content: Mapping[str, Any],
        predictions: Sequence[Row],
        task: TaskAnalysis,
        worst: Sequence[ImageErrors],
    ) -> None:
        ids = [one.image_id for one in worst]
        wanted = frozenset(ids)
        self._folder, self._page = folder, page
        self._images_dir = Path(record.dataset.images_dir)
        self._names = {one["id"]: one["name"] for one in content["categories"]}
        self._records = {
            one["id"]: ImageRecord(one["id"], one["file_name"], one["height"], one["width"])
            for one in content["images"]
            if one["id"] in wanted
        }
        self._rows: dict[int, list[tuple[int, Row]]] = defaultdict(list)
        for position, row in enumerate(content["annotations"]):
            if row["image_id"] in wanted:
                self._rows[row["image_id"]].append((position, row))
        self._predictions = [
            row for row in predictions if row["image_id"] in wanted and row["score"] >= THRESHOLD
        ]
        judged = judge_images(content, self._predictions, task.task, ids)
        self._judged = {one.image_id: one for one in judged}

    def draw(self, errors: ImageErrors) -> WorstImage | str:
        """The image with its drawing written; or why there is none."""
        number = errors.image_id
        record = self._records[number]
        picture, small = (self._folder / name / f"{number}.jpg" for name in (PICTURES, SMALL))
        try:
            pixels = load_image(record, self._images_dir).pixels_bgr
            drawn = draw_judged(
                record,
                pixels,
                self._rows[number],
                self._predictions,
                self._judged[number],
                self._names,
                DEFAULT_STYLE,
            )
            with disk_errors(self._folder):
                write_picture(picture, drawn, small=small, small_px=SMALL_PAIR_PX)
                content = base64.b64encode(small.read_bytes()).decode("ascii")
        except HarnessError as error:
            return error.message
        return WorstImage(
            picture=os.path.relpath(picture, self._page.parent),
            thumbnail=f"data:image/jpeg;base64,{content}",
            title=record.file_name,
            facts=(
                f"{errors.false_negatives} false negative(s), {errors.false_positives} false "
                f"positive(s), {errors.true_positives} true positive(s); image {number}"
            ),
        )


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
