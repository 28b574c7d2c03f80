"""``harness wait``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.cli.eval import answer_record
from harness.cli.nightly import answer_night
from harness.cli.options import add_answer_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and how its record is printed."""
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--per-category", action="store_true", help="also print AP by category")
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Wait, then print and answer what the command itself would have."""
    from harness.workflows.cluster.status import wait_for
    from harness.workflows.nightly import read_night
    from harness.workflows.runs.records import read_record

    kind = wait_for(arguments.run, progress=console.TerminalProgress())
    if kind == "nightly":
        return answer_night(read_night(arguments.run), arguments, arguments.run)
    return answer_record(read_record(arguments.run), arguments, arguments.run)
