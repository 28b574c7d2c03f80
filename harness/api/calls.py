"""What every function of the API does: errors, progress and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from harness.core.errors import UsageError
from harness.core.printable import shown
from harness.core.progress import Progress, Silent
from harness.files.failures import system_failures

if TYPE_CHECKING:
    from harness.measure.timing import PhaseTimer

Taken = ParamSpec("Taken")
Returned = TypeVar("Returned")

#: Whether and where progress and notices are shown.
Shown = Progress | bool


def public(function: Callable[Taken, Returned]) -> Callable[Taken, Returned]:
    """Make a function one of the API: failures of the system become errors of harness."""

    @wraps(function)
    def call(*arguments: Taken.args, **settings: Taken.kwargs) -> Returned:
        with system_failures():
            return function(*arguments, **settings)

    return call


def shown_by(asked: Shown) -> Progress:
    """The progress that was asked for: an object of its own, the terminal's, or none."""
    if not isinstance(asked, bool):
        if not all(callable(getattr(asked, name, None)) for name in ("task", "notice")):
            raise UsageError(
                "progress must be True, False, or an object with the methods task and notice, as "
                f"harness.Progress has them; got {shown(asked)}"
            )
        return asked
    if not asked:
        return Silent()
    from harness.report.progress_views import NotebookProgress, TerminalProgress, notebook_display

    display = notebook_display()
    return TerminalProgress() if display is None else NotebookProgress(display)


def progress_maker(asked: Shown | Callable[[], Progress]) -> Callable[[], Progress]:
    """What makes the progress where it is shown; only this is sent to another process."""
    if isinstance(asked, bool):
        return partial(shown_by, asked)
    if callable(asked):
        return asked
    return partial(_itself, asked)


def _itself(progress: Progress) -> Progress:
    return progress


def stopwatch() -> PhaseTimer:
    """A timer of phases; scoring does not wait for a device."""
    from harness.measure.timing import PhaseTimer

    return PhaseTimer(time.perf_counter, lambda: None)
