"""``harness wait``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.nightly import answer_night
from harness.cli.options import add_answered_settings
from harness.cli.records import answer_record
from harness.core.requests.asking import RecordOptions, RunFolderRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, and how its record is printed."""
    add_answered_settings(parser, RunFolderRequest, RecordOptions)


def run(arguments: argparse.Namespace) -> int:
    """Wait, then print the results of the command that was submitted; return its exit code."""
    from harness.cluster.status import wait_for
    from harness.nightly.night import read_night
    from harness.workflows.runs.folder import read_record

    kind = wait_for(arguments.run, progress=console.progress_of(arguments))
    if kind == "nightly":
        return answer_night(read_night(arguments.run), arguments, arguments.run)
    return answer_record(read_record(arguments.run), arguments, arguments.run)
