"""``harness eval``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.cli import console, tracked
from harness.cli.options import add_answered_settings, settings_from
from harness.core.record import RunRecord
from harness.core.requests.asking import RecordOptions
from harness.core.requests.inference import EvalRequest
from harness.core.requests.reports import TrackOptions
from harness.core.results import RunResult

FAILED_VERDICT_EXIT_CODE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of EvalRequest."""
    add_answered_settings(parser, EvalRequest, RecordOptions, TrackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table and the verdict; return the exit code."""
    from harness import api

    tracked.require(arguments)
    result = api.evaluate(
        **settings_from(EvalRequest, arguments),
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
    )
    tracked.log(arguments, result.folder)
    return answer_result(result, arguments)


def answer_result(result: RunResult, arguments: argparse.Namespace) -> int:
    """Print a finished run in the requested form.

    Args:
        result: Of the run.
        arguments: The parsed command line.

    Returns:
        0, or 1 for a failed verdict.
    """
    return answer_record(result.record, arguments, result.folder)


def answer_record(record: RunRecord, arguments: argparse.Namespace, folder: Path) -> int:
    """Print a finished run's record in the requested form.

    Args:
        record: Of the run.
        arguments: The parsed command line.
        folder: Of the run.

    Returns:
        0, or 1 for a failed verdict.
    """
    if arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def print_record(record: RunRecord, arguments: argparse.Namespace, folder: Path | None) -> None:
    """Print one table of everything measured, the verdict, and where the record is.

    Args:
        record: Of the run.
        arguments: The parsed command line.
        folder: Of the run; None where nothing was written.
    """
    from harness.report import tables

    style = arguments.format or console.default_format()
    if getattr(arguments, "per_category", False):
        tasks = dict.fromkeys(f"{row.task} AP" for row in record.per_category)
        rows = tables.category_rows(record.per_category)
        console.answer(tables.render(("id", "category", *tasks), rows, style), "")
    columns, rows = tables.with_interval_column(
        tables.record_rows(record.metrics, record.checks), record.intervals
    )
    console.answer(tables.render(columns, rows, style), "")
    certainty = tables.certainty_line(record.intervals, record.dataset.evaluated_images)
    if certainty is not None:
        console.answer(certainty)
    console.answer(_verdict(record, style))
    if folder is not None:
        if (folder / "report.html").is_file():
            console.answer(f"report: {folder / 'report.html'}")
        console.answer(f"record: {folder / 'record.json'}")


def _verdict(record: RunRecord, style: str) -> object:
    if style != "rich":
        return record.verdict.line
    from rich.text import Text

    from harness.report.tables import verdict_colour

    return Text(record.verdict.line, style=verdict_colour(record))
