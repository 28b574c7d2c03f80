"""``harness logs``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_settings
from harness.core.errors import UsageError
from harness.core.requests.queries import LogsRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, and which part of its logs."""
    add_settings(parser, LogsRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print the path of each log and its last lines; return the exit code.

    Raises:
        UsageError: There is no such log.
    """
    from harness.workflows.runs.submissions import logs_of

    logs = logs_of(arguments.run)
    if arguments.shard is not None:
        name = f"shard {arguments.shard:04d}"
        logs = {title: paths for title, paths in logs.items() if title == name}
        if not logs:
            raise UsageError(f"{arguments.run} has no {name}")
    for title, paths in logs.items():
        for path in paths:
            console.print_parts(f"== {title}: {path}")
            if not path.exists():
                console.print_parts("(not there yet)")
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            console.print_parts(*lines[max(0, len(lines) - arguments.lines) :])
    return 0
