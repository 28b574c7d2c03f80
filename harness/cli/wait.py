"""``harness wait``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import console
from harness.cli.eval import answer_record
from harness.cli.options import add_answer_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and how its record is printed."""
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--per-category", action="store_true", help="also print AP by category")
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Wait, then print and answer what ``harness eval`` would have."""
    from harness.pipeline.finish import wait_for

    record = wait_for(arguments.run, progress=console.TerminalProgress())
    return answer_record(record, arguments, arguments.run)
