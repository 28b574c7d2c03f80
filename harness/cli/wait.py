"""``harness wait``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.nightly import print_night
from harness.cli.options import add_output_settings
from harness.cli.records import print_outcome
from harness.core.requests.queries import RecordOptions, RunFolderRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, and how its record is printed."""
    add_output_settings(parser, RunFolderRequest, RecordOptions)


def run(arguments: argparse.Namespace) -> int:
    """Wait, then print the results of the command that was submitted; return its exit code."""
    from harness.cluster.status import wait_for
    from harness.nightly.night import read_night
    from harness.workflows.runs.folder import read_record

    kind = wait_for(arguments.run, progress=console.progress_of(arguments))
    if kind == "nightly":
        return print_night(read_night(arguments.run), arguments, arguments.run)
    return print_outcome(read_record(arguments.run), arguments, arguments.run)
