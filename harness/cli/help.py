"""``harness help COMMAND``: the same as ``harness COMMAND --help``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command; ``harness.cli.main`` turns it into that command's --help."""
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="command, and sub-command")


def run(arguments: argparse.Namespace) -> int:
    """Return 0. Never reached: the help is printed while the command line is parsed."""
    del arguments
    return 0
