"""``harness data convert``."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.cli.options import add_answered_settings, settings_from
from harness.core.requests.data import FORMATS, ConvertRequest

if TYPE_CHECKING:
    from harness.workflows.datasets.convert import ConvertReport


def add_action(actions: Any, name: str) -> None:
    """Add the action with the settings of ConvertRequest.

    Args:
        actions: The parser's sub-commands, of argparse.
        name: Of the action.
    """
    convert = actions.add_parser(name, help=f"{', '.join(FORMATS)} → one COCO annotation file")
    add_answered_settings(convert, ConvertRequest)


def run(arguments: argparse.Namespace) -> int:
    """Convert, and print the report; return the exit code."""
    from harness import api

    report = api.convert(
        **settings_from(ConvertRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.answer_json(report)
    else:
        print_report(report, arguments)
    return 0


def print_report(report: ConvertReport, arguments: argparse.Namespace) -> None:
    """Print a row a category, then what was left out and why, then the next command.

    Args:
        report: Of the conversion.
        arguments: The parsed command line.
    """
    from harness.report.data import category_rows, left_out_rows
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    columns, rows = category_rows(report.categories)
    console.answer(render(columns, rows, style), "")
    columns, rows = left_out_rows(report.dropped_images, report.dropped_objects, report.notes)
    if rows:
        console.answer(render(columns, rows, style), "")
    console.answer(
        f"{report.source_format}: {report.image_count:,} images, {report.object_count:,} objects "
        f"→ {report.output}"
    )
    images = "" if report.images is None else f" --images {shlex.quote(str(report.images))}"
    console.answer(f"next: harness data check {shlex.quote(str(report.output))}{images}")
