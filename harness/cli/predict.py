"""``harness predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.errors import RunFailedError
from harness.core.printable import counted
from harness.core.requests.pictures import PredictRequest

if TYPE_CHECKING:
    from harness.core.results import PredictReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of PredictRequest."""
    add_output_settings(parser, PredictRequest)


def run(arguments: argparse.Namespace) -> int:
    """Draw, and print what was found; return the exit code.

    Raises:
        RunFailedError: Files could not be read as images; the others are done.
    """
    from harness import api

    report = api.predict(
        **settings_from(PredictRequest, arguments),
        progress=console.progress_of(arguments),
        command=("harness", *sys.argv[1:]),
    )
    if arguments.json:
        console.print_json(report)
    else:
        _print(report, arguments)
    if report.unreadable:
        raise RunFailedError(
            f"{len(report.unreadable)} of "
            f"{counted(report.images + len(report.unreadable), 'file')} could "
            "not be read; they are named above",
            hint="the others are done",
        )
    return 0


def _print(report: PredictReport, arguments: argparse.Namespace) -> None:
    from harness.report.tables import render
    from harness.workflows.runs.panoptic_files import PANOPTIC_FILE

    if report.by_category:
        rows = [(str(one.category_id), one.name, str(one.detections)) for one in report.by_category]
        style = arguments.format or console.default_format()
        console.print_parts(render(("id", "category", "found"), rows, style), "")
    masked = ""
    if report.mean_masked_share is not None:
        masked = f", {report.mean_masked_share:.1%} of the pixels masked"
    console.print_parts(
        f"{counted(report.detections, 'object')} in {counted(report.images, 'image')} "
        f"at scores of {report.threshold:g} or more{masked}"
    )
    for note in report.notes:
        console.print_parts(f"note: {note}")
    folder = Path(report.output)
    console.print_parts(f"predictions: {folder / report.predictions}")
    if (folder / PANOPTIC_FILE).is_file():
        console.print_parts(f"maps of segments: {folder / PANOPTIC_FILE}")
    if report.page is not None:
        console.print_parts(f"pictures: {folder / report.page}")
