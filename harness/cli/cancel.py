"""``harness cancel``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_settings
from harness.core.requests.queries import RunFolderRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run."""
    add_settings(parser, RunFolderRequest)


def run(arguments: argparse.Namespace) -> int:
    """Stop what is queued or running, and print the command that continues; return the exit
    code.
    """
    from harness.cluster.status import way_on
    from harness.workflows.runs.submissions import cancel_jobs, read_submission

    cancelled = cancel_jobs(arguments.run)
    if not cancelled:
        console.print_parts("no job is running")
        return 0
    console.print_parts(f"cancelled: {' '.join(cancelled)}")
    console.print_parts(way_on(arguments.run, read_submission(arguments.run)))
    return 0
