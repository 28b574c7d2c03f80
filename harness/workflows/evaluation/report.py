"""The report of a run: written beside its record, and made again by ``harness report``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress, Silent
from harness.core.record import RunRecord
from harness.core.requests.reports import ReportRequest
from harness.core.run_files import PAGE, PREDICTIONS, RECORD, RUN_PAGE
from harness.core.tasks import TASKS, are_proposals
from harness.data.predictions import read_predictions
from harness.files.atomic import write_text
from harness.files.environment import usable_cpus
from harness.files.failures import disk_errors, reason_of
from harness.measure.parallel import Wanted, measuring
from harness.report.run_page import ReportContent, run_page
from harness.workflows.evaluation.score import tasks_of
from harness.workflows.evaluation.worst_images import THRESHOLD, Analyzed, worst_images
from harness.workflows.runs.files import is_finished
from harness.workflows.runs.folder import read_record, require_own_predictions
from harness.workflows.runs.same_data import annotations_of_run, scored_images


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
        otherwise = "score it against another: harness score"
        content = annotations_of_run(folder, record.dataset, otherwise)
    except HarnessError as error:
        return _written(page, _bare(folder, record, f"{error.message}."))
    predictions = read_predictions(folder / PREDICTIONS, content)
    wanted = _wanted(record, content, predictions)
    with (
        progress.task("report", total=3, unit="steps") as advance,
        measuring(wanted, processes=usable_cpus()) as measured,
    ):
        curves = measured.scores().curves
        advance(1)
        analyzed = Analyzed(
            folder=folder,
            page=page,
            record=record,
            annotations=content,
            predictions=predictions,
            tasks=measured.analyses(curves),
            finished_before=True,
        )
        found = _content(analyzed)
        advance(1)
        if unknown is not None:
            found = replace(found, image_notes=(*found.image_notes, f"{unknown}."))
        result = _written(page, found)
        advance(1)
    return result


def write_report(analyzed: Callable[[], Analyzed], progress: Progress) -> None:
    """Write the page of a run that has just finished; what goes wrong is reported, no more.

    Args:
        analyzed: Returns the run, which has its record, once its analysis is finished.
        progress: Where notices go.
    """
    with _faults_noticed(progress):
        run = analyzed()
        _written(run.page, _content(run))


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


def _content(run: Analyzed) -> ReportContent:
    images, notes = worst_images(run)
    return ReportContent(
        record=run.record,
        folder=str(run.folder),
        names=run.names,
        tasks=run.tasks,
        threshold=THRESHOLD,
        images=images,
        image_notes=notes,
    )


def _wanted(
    record: RunRecord, content: Mapping[str, Any], predictions: list[dict[str, Any]]
) -> Wanted:
    """What is measured of a run: its predictions on the images that were evaluated."""
    # No row says what there might have been.
    listed = tuple(task for task in TASKS if f"{task}/AP" in record.metrics)
    return Wanted(
        annotations=content,
        predictions=predictions,
        tasks=tasks_of(predictions) if predictions or not listed else listed,
        image_ids=scored_images(content, record.dataset),
        threshold=THRESHOLD,
    )


def _written(page: Path, content: ReportContent) -> ReportResult:
    with disk_errors(page.parent):
        write_text(page, run_page(content))
    return ReportResult(
        page=str(page),
        analyzed=bool(content.tasks),
        images=len(content.images),
        notes=tuple(dict.fromkeys(filter(None, (content.why_not, *content.image_notes)))),
    )
