"""Connections that fetch the missing spans of one file, several at once, each with patience."""

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

#: Told one line the user should see now.
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How failures that may pass are borne.

    attempts: failures in a row without a new byte. Before each new try comes a random wait of up
    to first_delay_s, doubled every time, at most longest_delay_s. timeout_s: how long a server may
    be silent.
    """

    attempts: int = 8
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    timeout_s: float = 30.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the connections of one download share."""

    remote: Remote
    part: Part
    advance: Advance
    patience: Patience
    tell: Tell


def look_patiently(url: str, patience: Patience, tell: Tell) -> Remote:
    """What is at ``url``, whatever breaks in between, unless patience ends."""
    failures = 0
    with transport(patience.timeout_s) as session:
        while True:
            try:
                return look(session, url)
            except BrokenOff as error:
                failures += 1
                _wait(error, failures, patience, tell, Event())


def work_off(work: Work, waiting: deque[Span]) -> None:
    """Fetch spans until none is waiting. A failure goes to whoever waits for the part."""
    try:
        with transport(work.patience.timeout_s) as session:
            while True:
                try:
                    span = waiting.popleft()
                except IndexError:
                    return
                _fetch_span(session, span, work)
    except Exception as error:
        work.part.fail(error)


def _fetch_span(session: Transport, span: Span, work: Work) -> None:
    """All bytes of ``span``, whatever breaks in between, unless patience ends."""
    start, end = span
    furthest, failures = start, 0
    while (position := work.part.reached(start)) < end:
        if position > furthest:
            furthest, failures = position, 0
        try:
            _copy(session, position, end, work)
        except BrokenOff as error:
            failures += 1
            _wait(error, failures, work.patience, work.tell, work.part.stopped)


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


def _wait(error: BrokenOff, failures: int, patience: Patience, tell: Tell, stopped: Event) -> None:
    """Some time before the next try; raises when patience has ended."""
    if failures < patience.attempts:
        longest = min(patience.first_delay_s * 2 ** (failures - 1), patience.longest_delay_s)
        delay = random.uniform(0, longest)
        if failures > 1 and not stopped.is_set():  # one break now and then is no news
            tell(f"{error}; try {failures + 1} of {patience.attempts} in {delay:.0f} s")
        stopped.wait(delay)
        return
    kind = IntegrityError if error.cut_short else RunFailedError
    raise kind(
        f"{error}, {failures} times in a row",
        hint="what has arrived is kept: the same command continues; or " + ANOTHER_MIRROR,
    ) from error
