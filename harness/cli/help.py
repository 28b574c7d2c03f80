"""``harness help COMMAND``: the same as ``harness COMMAND --help``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command; ``harness.cli.main`` turns it into that command's --help."""
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="command, and sub-command")


def run(arguments: argparse.Namespace) -> int:
    """Never reached: the help was printed while the words were read."""
    del arguments
    return 0
