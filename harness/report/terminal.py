"""Progress in a terminal, on stderr; answers are the command line's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.core.printable import one_line, printable
from harness.core.progress import Advance

if TYPE_CHECKING:
    from rich.console import Console

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
        position, said = done, ""

        def advance(units: int, note: str = "") -> None:
            nonlocal position, last, said
            position, said = position + units, note or said
            now = time.monotonic()
            if now - last >= self._period_s:
                last = now
                rate = (position - done) / (now - begun)
                of = "" if total is None else f"/{total}"
                tail = f", {said}" if said else ""
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
