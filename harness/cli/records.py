"""Records as commands end with them: printed, with an exit code, and given to trackers."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.core.errors import HarnessError
from harness.core.record import RunRecord
from harness.core.results import RunResult
from harness.core.run_files import PREDICTIONS, RECORD, RUN_PAGE
from harness.core.tasks import has_accuracy

FAILED_VERDICT_EXIT_CODE = 1


def print_result(result: RunResult, arguments: argparse.Namespace) -> int:
    """Print a finished run in the requested form.

    Args:
        result: Result of the run.
        arguments: The parsed command line.

    Returns:
        0, or 1 for a failed verdict.
    """
    return print_outcome(result.record, arguments, result.folder)


def print_outcome(record: RunRecord, arguments: argparse.Namespace, folder: Path) -> int:
    """Print a finished run's record in the requested form.

    Args:
        record: Record of the run.
        arguments: The parsed command line.
        folder: Folder of the run.

    Returns:
        0, or 1 for a failed verdict.
    """
    if arguments.json:
        console.print_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def print_record(record: RunRecord, arguments: argparse.Namespace, folder: Path | None) -> None:
    """Print one table of everything measured, the verdict, and where the record is.

    Args:
        record: Record of the run.
        arguments: The parsed command line.
        folder: Folder of the run; None where nothing was written.
    """
    from harness.report import record_rows, tables
    from harness.report.missing_numbers import absent_lines

    style = arguments.format or console.default_format()
    if getattr(arguments, "per_category", False):
        tasks = dict.fromkeys(f"{row.task} AP" for row in record.per_category)
        rows = record_rows.category_rows(record.per_category)
        console.print_parts(tables.render(("id", "category", *tasks), rows, style), "")
    columns, rows = record_rows.with_interval_column(
        record_rows.record_rows(record.metrics, record.checks), record.intervals
    )
    console.print_parts(tables.render(columns, rows, style), "")
    for sentence in absent_lines(record.metrics, record.per_category):
        console.print_parts(sentence)
    certainty = record_rows.certainty_line(record)
    if certainty is not None:
        console.print_parts(certainty)
    console.print_parts(_verdict(record, style))
    if folder is not None:
        predictions = folder / PREDICTIONS
        if predictions.is_file() and not has_accuracy(record.metrics):
            console.print_parts(f"predictions: {predictions}")
        if (folder / RUN_PAGE).is_file():
            console.print_parts(f"report: {folder / RUN_PAGE}")
        console.print_parts(f"record: {folder / RECORD}")


def _verdict(record: RunRecord, style: str) -> object:
    if style != "rich":
        return record.verdict.line
    from rich.text import Text

    from harness.report.record_rows import verdict_colour

    return Text(record.verdict.line, style=verdict_colour(record))


def require_trackers(arguments: argparse.Namespace) -> None:
    """Check that the trackers can be used, before the work begins.

    Args:
        arguments: The parsed command line.

    Raises:
        PrerequisiteError: The package of one is missing.
    """
    if arguments.track:
        from harness.workflows import tracking

        tracking.require_trackers(arguments.track)


def track(arguments: argparse.Namespace, folder: Path) -> None:
    """Give a finished run to the trackers; what one refuses is reported, and the run stands.

    Args:
        arguments: The parsed command line.
        folder: Folder of the run or night.
    """
    if not arguments.track:
        return
    from harness.workflows.tracking import track_run

    progress = console.progress_of(arguments)
    for name in arguments.track:
        try:
            progress.notice(f"tracked by {name}: {track_run(folder, name)}")
        except HarnessError as error:
            progress.notice(f"not tracked: {error}")
