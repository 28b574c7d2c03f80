"""What every function of the API does with its arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from harness.core.errors import UsageError
from harness.core.progress import Progress, Silent
from harness.core.requests.signatures import NOT_TAKEN, REQUESTS, signed
from harness.core.settings import command_line, compose, keyword_of
from harness.files.failures import system_failures

Request = TypeVar("Request")
Taken = ParamSpec("Taken")
Returned = TypeVar("Returned")

#: Whether and where progress and notices are shown.
Shown = Progress | bool


def public(function: Callable[Taken, Returned]) -> Callable[Taken, Returned]:
    """Make a function one of the API: failures of the system become errors of harness.

    Where a request says what it takes, it has the signature of that request's settings.
    """

    @wraps(function)
    def call(*arguments: Taken.args, **settings: Taken.kwargs) -> Returned:
        with system_failures():
            return function(*arguments, **settings)

    return signed(call) if function.__name__ in REQUESTS else call


def composed(function: str, kind: type[Request], settings: Mapping[str, Any]) -> Request:
    """The request of a call, every setting checked."""
    from harness.files.layout import default_places

    for name in NOT_TAKEN.get(function, ()):
        if name in settings:
            raise UsageError(f"{function}() takes no {name!r}")
    return compose(kind, settings, defaults=default_places(), called=keyword_of)


def typed(given: Sequence[str] | None, name: str, request: Any) -> tuple[str, ...]:
    """The command of the record: what was typed, or the command line that does the same."""
    return command_line(name, request) if given is None else tuple(given)


def shown_by(asked: Shown) -> Progress:
    """The progress that was asked for: an object of its own, the terminal's, or none."""
    if not isinstance(asked, bool):
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


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


def stopwatch() -> Any:
    """A timer of phases; scoring does not wait for a device."""
    from harness.measure.timing import PhaseTimer

    return PhaseTimer(time.perf_counter, lambda: None)
