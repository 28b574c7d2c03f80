"""The terminal: progress on stderr, answers on stdout. Nothing else in the package prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.core.progress import Advance

if TYPE_CHECKING:
    from harness.report.tables import TableFormat

#: Seconds between progress lines where stderr is no terminal (a job's log).
LOG_PERIOD_S = 30.0


class TerminalProgress:
    """A live bar on a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    def notice(self, text: str) -> None:
        """One line on stderr."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        """Bar, share, speed and time left; see harness.core.progress."""
        if not self._console.is_terminal:
            yield self._logged(title, total, done, unit)
            return
        from rich import progress

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
                    bar.update(task, note=note)

            yield advance

    def _logged(self, title: str, total: int | None, done: int, unit: str) -> Advance:
        begun = last = time.monotonic()
        position = done

        def advance(units: int, note: str = "") -> None:
            nonlocal position, last
            position += units
            now = time.monotonic()
            if now - last >= LOG_PERIOD_S:
                last = now
                rate = (position - done) / (now - begun)
                of = "" if total is None else f"/{total}"
                tail = f", {note}" if note else ""
                self.notice(f"{title}: {position}{of} {unit}, {rate:.2f} {unit}/s{tail}")

        return advance


def _Rate(unit: str) -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.2f} {unit}/s")

    return Rate()


def answer(*parts: Any) -> None:
    """Renderables or texts on stdout."""
    from rich.console import Console

    console = Console()
    for part in parts:
        if isinstance(part, str):
            sys.stdout.write(part + "\n")
        else:
            console.print(part)
    sys.stdout.flush()


def answer_json(value: Any) -> None:
    """A record on stdout, and nothing else."""
    from harness.files.json import dumps, to_plain

    sys.stdout.write(dumps(to_plain(value), indent=2) + "\n")
    sys.stdout.flush()


def default_format() -> TableFormat:
    """Tables are rich on a terminal and plain in a pipe."""
    return "rich" if sys.stdout.isatty() else "plain"
