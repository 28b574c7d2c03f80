"""``harness show``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.errors import RunFailedError
from harness.core.printable import counted
from harness.core.requests.pictures import ShowRequest

if TYPE_CHECKING:
    from harness.workflows.pictures.show_subject import ShowReport

#: Rows of the table of the worst images.
SHOWN_IMAGES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ShowRequest."""
    add_output_settings(parser, ShowRequest)


def run(arguments: argparse.Namespace) -> int:
    """Draw, and print where the page is; return the exit code."""
    from harness import api

    report = api.show(
        **settings_from(ShowRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(report)
    else:
        _print(report, arguments)
    if report.unreadable:
        raise RunFailedError(
            f"{counted(len(report.unreadable), 'image')} could not be read; they are named above",
            hint="the others are drawn",
        )
    return 0


def _print(report: ShowReport, arguments: argparse.Namespace) -> None:
    from harness.report.tables import render

    if report.worst:
        rows = [
            (
                str(one.image_id),
                one.file_name,
                str(one.false_negatives),
                str(one.false_positives),
                str(one.true_positives),
            )
            for one in report.worst[:SHOWN_IMAGES]
        ]
        style = arguments.format or console.default_format()
        columns = ("image", "file", "false negatives", "false positives", "true positives")
        console.print_parts(render(columns, rows, style), "")
    if report.false_positives is None:
        console.print_parts(
            f"{counted(report.objects, 'annotation')} in {counted(report.images, 'image')}"
        )
    else:
        kinds = ", ".join(
            f"{count} {kind}" for kind, count in report.false_positives.items() if count
        )
        console.print_parts(
            f"{counted(report.true_positives or 0, 'true positive')}, "
            f"{counted(report.false_negatives or 0, 'false negative')}, "
            f"{counted(sum(report.false_positives.values()), 'false positive')}"
            + (f" ({kinds})" if kinds else "")
            + f" in {counted(report.images, 'image')}"
        )
    if report.drawn < report.images:
        console.print_parts(f"{report.drawn} of them drawn; all: --most 0")
    console.print_parts(f"pictures: {report.page}")
