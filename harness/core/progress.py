"""How long work reports what it is doing, without knowing a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable


class Advance(Protocol):
    """Called with the units finished since the last call, and what else there is to say now."""

    def __call__(self, units: int, note: str = "") -> None: ...


class Progress(Protocol):
    """Where progress and notices go: a terminal, a log, nowhere."""

    def task(
        self, title: str, *, total: int | None, done: int = 0, unit: str
    ) -> AbstractContextManager[Advance]:
        """A piece of work of ``total`` units (None: unknown), ``done`` of them already."""
        ...

    def notice(self, text: str) -> None:
        """One line the user should see now."""
        ...


@runtime_checkable
class Curves(Protocol):
    """Progress that also draws the numbers of a training; not every progress does."""

    def curve(self, line: Mapping[str, Any]) -> None:
        """A new line of ``metrics.json``: the iteration, and losses or APs by name."""
        ...


def _nowhere(units: int, note: str = "") -> None:
    """Ignores units and notes."""
    del units, note


class Silent:
    """Progress that goes nowhere."""

    @contextmanager
    def task(
        self,
        title: str,
        *,
        total: int | None,
        done: int = 0,
        unit: str,
    ) -> Iterator[Advance]:
        """A task without output."""
        yield _nowhere

    def notice(self, text: str) -> None:
        """Nothing."""
