"""The standard streams of the program, whatever it was started with.

A closed stream is opened on the null device: the next file that is opened would take its number,
and whatever a library prints would be written into that file. What cannot be written to stderr,
which has only notices, is dropped and ends no run. Characters that the encoding of a terminal lacks
become escapes.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

from harness.core.errors import RunFailedError

#: Number → name and mode of a standard stream.
STREAMS = {0: ("stdin", "r"), 1: ("stdout", "w"), 2: ("stderr", "w")}


def prepare_streams() -> None:
    """Have three streams that can be used; before anything else is opened."""
    for number, (name, mode) in STREAMS.items():
        with suppress(OSError):
            os.fstat(number)
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
        stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
        setattr(sys, name, stream)
    sys.stdout, sys.stderr = _Results(sys.stdout), _Notices(sys.stderr)


class _Stream:
    """A stream of text that passes on everything but what its class changes."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        if isinstance(inner, TextIOWrapper):
            inner.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _failed(self, error: OSError) -> None:
        """Decide about a failed write, after which nothing more reaches the stream.

        Args:
            error: What the system said.
        """
        raise NotImplementedError

    def write(self, text: str) -> int:
        """Write ``text``."""
        try:
            return self._inner.write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        """Pass everything to the system."""
        try:
            self._inner.flush()
        except OSError as error:
            self._failed(error)

    def _silence(self) -> None:
        """Send what is still buffered nowhere: it would fail once more when Python leaves."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._inner.fileno())
            os.close(null)


class _Results(_Stream):
    """stdout: a result that cannot be written is an error."""

    def _failed(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error
        self._silence()
        raise RunFailedError(
            f"cannot write the result to stdout: {error.strerror or error}",
            hint="what was computed is kept; make room, or send the output elsewhere",
        ) from error


class _Notices(_Stream):
    """stderr: notices that cannot be written are dropped."""

    def _failed(self, error: OSError) -> None:
        del error
        self._silence()
