"""Connections that fetch the missing spans of one file, several at once, with retries."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from harness.core.errors import IntegrityError, RunFailedError
from harness.core.progress import Advance
from harness.files.parts import Part, Span
from harness.files.transport import (
    ANOTHER_MIRROR,
    BrokenOff,
    Remote,
    Transport,
    look,
    read_span,
    transport,
)

#: Receives one line that the user should see now.
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a failure that may pass is tried again."""

    attempts: int = 8
    """Failures in a row without LEAST_PROGRESS_BYTES more."""

    first_delay_s: float = 1.0
    """Before a new try comes a random wait of up to this long, doubled every time."""

    longest_delay_s: float = 60.0
    """The random wait is never longer."""

    timeout_s: float = 30.0
    """How long a server may be silent."""

    least_bytes_per_s: float = 1024.0
    """A server that sends less over twice ``timeout_s`` is cut off, which counts as a failure.
    Chosen: far below any usable line."""


RETRY_POLICY = RetryPolicy()

#: A server that breaks off after less than this every time would be asked without end.
LEAST_PROGRESS_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the connections of one download share."""

    remote: Remote
    """The file at its address."""

    part: Part
    """Where its bytes go."""

    advance: Advance
    """Called with the number of bytes that have arrived."""

    retries: RetryPolicy
    """How failures are borne."""

    notice: Notice
    """Receives what the user should know."""


def look_with_retries(url: str, retries: RetryPolicy, notice: Notice) -> Remote:
    """Ask what is at an address, again after failures that may pass."""
    failures = 0
    with transport(retries.timeout_s, retries.least_bytes_per_s) as session:
        while True:
            try:
                return look(session, url)
            except BrokenOff as error:
                failures += 1
                _wait(error, failures, retries, notice, Event())


def fetch_spans(work: Work, waiting: deque[Span]) -> None:
    """Fetch spans until none is waiting. A failure goes to the thread that waits for the part."""
    try:
        with transport(work.retries.timeout_s, work.retries.least_bytes_per_s) as session:
            while True:
                try:
                    span = waiting.popleft()
                except IndexError:
                    return
                _fetch_span(session, span, work)
    except Exception as error:
        work.part.fail(error)


def _fetch_span(session: Transport, span: Span, work: Work) -> None:
    """Fetch all bytes of a span, again after failures that may pass."""
    start, end = span
    furthest, failures = start, 0
    while (position := work.part.reached(start)) < end:
        if position - furthest >= LEAST_PROGRESS_BYTES:
            furthest, failures = position, 0
        try:
            _copy(session, position, end, work)
        except BrokenOff as error:
            if work.part.reached(start) >= end:
                return
            failures += 1
            _wait(error, failures, work.retries, work.notice, work.part.stopped)


def _copy(session: Transport, start: int, end: int, work: Work) -> None:
    """Write the bytes from ``start`` up to ``end``, in one request; drop all others.

    Without ranges the bytes before ``start`` come again. A server that sends more than it was asked
    for is not read any further.
    """
    position = start if work.remote.ranges else 0
    with read_span(session, work.remote, start, end) as chunks:
        for chunk in chunks:
            first, last = max(start, position), min(end, position + len(chunk))
            if first < last:
                work.part.write(first, chunk[first - position : last - position])
                work.advance(last - first)
            position += len(chunk)
            if position >= end:
                return
    raise BrokenOff(
        f"{work.remote.url}: the connection ended after {position:,} of {end:,} bytes",
        cut_short=True,
    )


def _wait(
    error: BrokenOff, failures: int, retries: RetryPolicy, notice: Notice, stopped: Event
) -> None:
    """Wait before the next try; raise when there have been enough."""
    if failures < retries.attempts:
        longest = min(retries.first_delay_s * 2 ** (failures - 1), retries.longest_delay_s)
        delay = random.uniform(0, longest)
        if failures > 1 and not stopped.is_set():  # one failure now and then is no news
            notice(f"{error}; try {failures + 1} of {retries.attempts} in {delay:.0f} s")
        stopped.wait(delay)
        return
    kind = IntegrityError if error.cut_short else RunFailedError
    raise kind(
        f"{error}, {failures} times in a row",
        hint="what has arrived is kept: the same command continues; or " + ANOTHER_MIRROR,
    ) from error
