"""Progress in a terminal, on stderr, and in a notebook; results are the command line's.

A notebook has one view, drawn again in place, of a bar, notices and curves.
"""

from __future__ import annotations

import html
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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


#: Seconds between two drawings, and notices that stay in sight.
PERIOD_S, NOTICES = 0.5, 8

#: Curves that are drawn: key of the log, name, colour.
DRAWN = (
    ("total_loss", "training loss", "#4878d0"),
    ("validation/total_loss", "validation loss", "#222222"),
    ("bbox/AP", "box AP", "#d65f5f"),
    ("segm/AP", "mask AP", "#ee854a"),
)

#: Size of a small plot, px.
WIDTH, HEIGHT = 260, 80


def notebook_display() -> Callable[[Any], Any] | None:
    """Return what shows an object in the running notebook; None outside of one.

    Nothing is imported: a notebook has imported it long before.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    shown = sys.modules["IPython.display"].display
    return lambda view: shown(view, display_id=True)


class NotebookProgress:
    """A view that is updated in place.

    Attributes:
        display: Shows an object with ``_repr_html_``; returns a handle with ``update``.
    """

    def __init__(self, display: Callable[[Any], Any]) -> None:
        """Show nothing yet.

        Args:
            display: As ``notebook_display`` returns it.
        """
        self.display = display
        self._handle: Any = None
        self._drawn_s = 0.0
        self._task = ""
        self._share: float | None = None
        self._notices: deque[str] = deque(maxlen=NOTICES)
        self._points: dict[str, list[tuple[float, float]]] = {}

    def notice(self, text: str) -> None:
        """Add a line to the view."""
        self._notices.append(one_line(text))
        self._draw()

    def curve(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of a line of a training's log to the curves."""
        for name, _, _ in DRAWN:
            if line.get(name) is not None:
                points = self._points.setdefault(name, [])
                points.append((float(line["iteration"]), float(line[name])))
        self._draw()

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        """Show a bar of work; see harness.core.progress."""
        position, said = done, ""
        outer = (self._task, self._share)

        def advance(units: int, note: str = "") -> None:
            nonlocal position, said
            position, said = position + units, note or said
            self._share = position / total if total else None
            of = "" if total is None else f" of {total:,}"
            self._task = f"{title}: {position:,}{of} {unit}  {said}"
            if time.monotonic() - self._drawn_s >= PERIOD_S:
                self._draw()

        yield advance
        self._draw()
        self._task, self._share = outer

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        if self._handle is None:
            self._handle = self.display(self)
        else:
            self._handle.update(self)

    def _repr_html_(self) -> str:
        bar = ""
        if self._share is not None:
            bar = f'<progress value="{self._share:.4f}" style="width:30em"></progress> '
        plots = "".join(
            _plot(self._points[name], label, colour)
            for name, label, colour in DRAWN
            if len(self._points.get(name, ())) > 1
        )
        lines = "<br>".join(html.escape(text) for text in self._notices)
        return f"<div>{bar}{html.escape(self._task)}</div><div>{plots}</div><div>{lines}</div>"


def _plot(points: Sequence[tuple[float, float]], label: str, colour: str) -> str:
    """Return a small plot as SVG, with the last value."""
    first, last = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    path = " ".join(
        f"{WIDTH * (x - first) / ((last - first) or 1):.1f},"
        f"{HEIGHT - HEIGHT * (y - low) / ((high - low) or 1):.1f}"
        for x, y in points
    )
    return (
        f'<figure style="display:inline-block;margin:.5em 1em"><figcaption>{html.escape(label)} '
        f"{points[-1][1]:.3g}</figcaption>"
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 -2 {WIDTH} {HEIGHT + 4}">'
        f'<polyline points="{path}" fill="none" stroke="{colour}"/></svg></figure>'
    )
