"""The terminal: progress on stderr, answers on stdout. Nothing else in the package prints.

Whatever is printed here holds no control characters but those that rich writes for colours.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.core.printable import one_line, printable, printable_json
from harness.core.progress import Advance

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    from harness.report.tables import TableFormat

#: Seconds between progress lines where stderr is no terminal (a job's log).
LOG_PERIOD_S = 30.0
VERBOSE_LOG_PERIOD_S = 2.0

#: What also a quiet program says begins like this.
LOUD = ("warning:", "error:", "not comparable:")


def console(*, stderr: bool = False) -> Console:
    """A rich console; with NO_COLOR in the environment its text is plain, without bold as well."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    return Console(stderr=stderr, color_system=None if plain else "auto")


def progress_of(arguments: argparse.Namespace) -> TerminalProgress:
    """The progress that a command line asks for with --quiet or --verbose."""
    return TerminalProgress(quiet=arguments.quiet, verbose=arguments.verbose)


class TerminalProgress:
    """A live bar on a terminal, a line now and then in a log."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = console(stderr=True)
        self._quiet = quiet
        self._period_s = VERBOSE_LOG_PERIOD_S if verbose else LOG_PERIOD_S

    def notice(self, text: str) -> None:
        """One line on stderr; a quiet one has only warnings."""
        if not self._quiet or text.startswith(LOUD):
            shown = printable(text)
            self._console.print(shown, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        """Bar, share, speed and time left; see harness.core.progress."""
        if self._quiet:
            yield _nothing
            return
        if not self._console.is_terminal:
            yield self._logged(title, total, done, unit)
            return
        from rich import progress

        title = one_line(title)
        size = unit == "bytes"
        bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn() if size else progress.MofNCompleteColumn(),
            progress.TransferSpeedColumn() if size else _Rate(unit),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
        )
        with bar:
            task = bar.add_task(title, total=total, completed=done, note="")

            def advance(units: int, note: str = "") -> None:
                bar.advance(task, units)
                if note:
                    bar.update(task, note=one_line(note))

            yield advance

    def _logged(self, title: str, total: int | None, done: int, unit: str) -> Advance:
        begun = last = time.monotonic()
        position = done

        def advance(units: int, note: str = "") -> None:
            nonlocal position, last
            position += units
            now = time.monotonic()
            if now - last >= self._period_s:
                last = now
                rate = (position - done) / (now - begun)
                of = "" if total is None else f"/{total}"
                tail = f", {note}" if note else ""
                self.notice(f"{title}: {position}{of} {unit}, {rate:.2f} {unit}/s{tail}")

        return advance


def _nothing(units: int, note: str = "") -> None:
    del units, note


def _Rate(unit: str) -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.2f} {unit}/s")

    return Rate()


class _Printable:
    """A renderable without control characters in its text; colours are apart from that."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self._inner, options):
            text = segment.text if segment.control else printable(segment.text)
            yield Segment(text, segment.style, segment.control)


def answer(*parts: Any) -> None:
    """Renderables or texts on stdout."""
    printer = console()
    for part in parts:
        if isinstance(part, str):
            sys.stdout.write(printable(part) + "\n")
        else:
            printer.print(_Printable(part))
    sys.stdout.flush()


def answer_json(value: Any) -> None:
    """A record on stdout, and nothing else."""
    from harness.files.json import dumps, to_plain

    sys.stdout.write(printable_json(dumps(to_plain(value), indent=2)) + "\n")
    sys.stdout.flush()


def default_format() -> TableFormat:
    """Tables are rich on a terminal and plain in a pipe."""
    return "rich" if sys.stdout.isatty() else "plain"
