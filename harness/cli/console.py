"""The terminal: progress on stderr, results on stdout. Nothing else in the package prints.

Whatever is printed here has no control characters but those that rich writes for colours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.core.printable import ascii_json, printable, printable_json
from harness.report.progress_views import (
    TerminalProgress as TerminalProgress,  # also used from here
)
from harness.report.progress_views import console

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    from harness.core.requests.queries import TableFormat


def progress_of(arguments: argparse.Namespace) -> TerminalProgress:
    """The progress that a command line requests with --quiet or --verbose.

    Args:
        arguments: The parsed command line.
    """
    return TerminalProgress(quiet=arguments.quiet, verbose=arguments.verbose)


class _Printable:
    """A renderable without control characters in its text; colours are apart from that."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self._inner, options):
            text = segment.text if segment.control else printable(segment.text)
            yield Segment(text, segment.style, segment.control)


def print_parts(*parts: Any) -> None:
    """Print results on stdout.

    Args:
        parts: Renderables of rich, or texts; one after the other, each on lines of its own.
    """
    printer = console()
    for part in parts:
        if isinstance(part, str):
            sys.stdout.write(printable(part) + "\n")
        else:
            printer.print(_Printable(part))
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print a record on stdout, and nothing else.

    Args:
        value: A dataclass or anything else that ``harness.files.json`` can write.
    """
    from harness.files.json import dumps, to_plain

    text = printable_json(dumps(to_plain(value), indent=2))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # of a locale without these characters
        text = ascii_json(text)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def default_format() -> TableFormat:
    """The format of tables: rich on a terminal and plain in a pipe."""
    return "rich" if sys.stdout.isatty() else "plain"
