"""``harness nightly``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.cli.options import add_output_settings, request_from
from harness.cli.records import require_trackers, track
from harness.core.nightly import Night
from harness.core.requests.cluster import NightRequest
from harness.core.requests.reports import TrackOptions

REGRESSION_EXIT_CODE = 1
FAILED_EXIT_CODE = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of NightRequest."""
    add_output_settings(parser, NightRequest, TrackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the matrix; return 1 for a regression, 5 for a failure that is none."""
    from harness.core.clock import utc_now
    from harness.nightly.night import run_night

    require_trackers(arguments)
    night, folder, change = run_night(
        request_from(NightRequest, arguments),
        progress=console.progress_of(arguments),
        now=utc_now(),
    )
    track(arguments, folder)
    code = print_night(night, arguments, folder)
    if change and not arguments.json:
        console.print_parts("", change, "", "read it, then commit it: the numbers are now accepted")
    return code


def print_night(night: Night, arguments: argparse.Namespace, folder: Path) -> int:
    """Print a finished night in the requested form.

    Args:
        night: Its cells and their results.
        arguments: The parsed command line.
        folder: Folder of the night.

    Returns:
        0, 1 for a regression, 5 for a failure that is none.
    """
    from harness.report.night import COLUMNS, night_rows
    from harness.report.tables import render

    if arguments.json:
        console.print_json(night)
    else:
        style = arguments.format or console.default_format()
        console.print_parts(render(COLUMNS, night_rows(night), style), "")
        console.print_parts(f"{night.status.upper()}: {folder / 'index.html'}")
    codes = {"pass": 0, "regression": REGRESSION_EXIT_CODE, "failed": FAILED_EXIT_CODE}
    return codes[night.status]
