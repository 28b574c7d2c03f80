"""``harness report``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.requests.reports import ReportRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ReportRequest."""
    add_output_settings(parser, ReportRequest)


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and print where it is; return the exit code."""
    from harness import api

    result = api.write_report(
        **settings_from(ReportRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(result)
        return 0
    for note in result.notes:
        console.progress_of(arguments).notice(f"note: {note}")
    console.print_parts(f"report: {result.page}")
    return 0
