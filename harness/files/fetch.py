"""Downloads that resume after any break, use several connections, and are proven before they count.

The order of events: look at the address; fetch the missing spans, several at once and with retries;
refuse further bytes; hash the file as it is on the disk and compare length and hash; give the file
its name. A file that has its name is complete and proven.
"""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from harness.core.errors import HarnessError, IntegrityError, RunFailedError
from harness.core.progress import Advance, Progress
from harness.files.digest import file_digest
from harness.files.failures import ARRIVED, disk_errors
from harness.files.parts import Part, Span, gaps, open_part
from harness.files.transport import (
    ANOTHER_MIRROR,
    BrokenOff,
    Changed,
    Remote,
    Transport,
    look,
    read_span,
    transport,
)

#: A span is one request: long enough that a round trip does not count.
SPAN_BYTES = 16 << 20

#: How often a file may change, or its hash be wrong after a resumption, until we give up.
STARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a file must be, as far as a source says."""

    size: int | None
    """Bytes; None when no source gives them."""

    algorithm: Literal["sha256", "md5"]
    """Of the hash."""

    digest: str
    """The hash in hex digits, or only its beginning; empty when no source gives one."""

    def __str__(self) -> str:
        whole = len(self.digest) == 2 * hashlib.new(self.algorithm).digest_size
        return f"{self.algorithm} {self.digest}{'' if whole else '…'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Where a file came from, and what is on the disk."""

    url: str
    """The address that served it."""

    size: int
    """Bytes."""

    digest: str
    """Its whole hash, in hex digits."""


def free_bytes(folder: Path) -> int:
    """Return the bytes left where ``folder`` is."""
    return shutil.disk_usage(folder).free


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How to fetch."""

    progress: Progress
    """Receives the bytes, and notices."""

    jobs: int = 4
    """Connections at once."""

    retries: RetryPolicy = RETRY_POLICY
    """How failures that may pass are borne."""

    free_bytes: Callable[[Path], int] = free_bytes
    """Reads the free space where a folder is."""


def fetch(urls: Sequence[str], target: Path, expected: Expected, options: FetchOptions) -> Fetched:
    """Fetch a file and prove it.

    What has arrived is kept for the next time unless it is known to be wrong.

    Args:
        urls: Addresses in order of preference; the first one that serves the file is used.
        target: Where the file goes. No other process may fetch the same target meanwhile.
        expected: Size and hash, as far as they are known.
        options: How to fetch.

    Returns:
        The address that served it, and the size and hash of the file on the disk.

    Raises:
        IntegrityError: Wrong length or hash, or a file that ends early.
        RunFailedError: No address responds, or the disk is full.
        UsageError: Nothing may be written there.
    """
    failures: list[HarnessError] = []
    with disk_errors(target, kept=ARRIVED):
        target.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            if failures:
                options.progress.notice(f"{failures[-1].message}\ntrying {url}")
            try:
                return _fetch_from(url, target, expected, options)
            except HarnessError as error:
                failures.append(error)
    last = failures[-1]
    raise type(last)("\n".join(one.message for one in failures), hint=last.hint) from last


def _fetch_from(url: str, target: Path, expected: Expected, options: FetchOptions) -> Fetched:
    for _ in range(STARTS):
        remote = look_with_retries(url, options.retries, options.progress.notice)
        size = _agreed_size(remote, expected)
        with open_part(target, remote, size, options.progress.notice) as part:
            resumed = part.done_bytes
            _require_space(target, size - resumed, options)
            try:
                _receive(remote, part, options)
            except Changed:
                part.discard()
                options.progress.notice(
                    f"{url} has changed meanwhile; starting {target.name} again"
                )
                continue
            part.seal()
            length, digest = _on_disk(part, expected.algorithm, options)
            if length == size and digest.startswith(expected.digest):
                part.finish(target)
                return Fetched(url=url, size=size, digest=digest)
            part.discard()
        if not resumed:
            sizes = "" if length == size else f" and {size:,} bytes"
            found = "" if length == size else f" and {length:,} bytes"
            raise IntegrityError(
                f"{url} is not the expected file:\n"
                f"  expected {expected}{sizes}\n"
                f"  found    {expected.algorithm} {digest}{found}",
                hint=ANOTHER_MIRROR,
            )
        options.progress.notice(f"{target.name}: wrong hash after resuming; starting again")
    raise IntegrityError(f"{url} keeps changing while it is read", hint=ANOTHER_MIRROR)


def _agreed_size(remote: Remote, expected: Expected) -> int:
    size = expected.size if remote.size is None else remote.size
    if size is None:
        raise IntegrityError(
            f"{remote.url}: the server does not say how long the file is, and neither does the "
            "lock: it could be cut off without being noticed",
            hint=ANOTHER_MIRROR,
        )
    if expected.size not in (None, size):
        raise IntegrityError(
            f"{remote.url} has another length:\n"
            f"  expected {expected.size:,} bytes\n  found    {size:,} bytes",
            hint=ANOTHER_MIRROR,
        )
    return size


def _require_space(target: Path, needed: int, options: FetchOptions) -> None:
    free = options.free_bytes(target.parent)
    if free < needed:
        raise OSError(errno.ENOSPC, f"it needs {needed:,} more bytes, {free:,} are free")


def _receive(remote: Remote, part: Part, options: FetchOptions) -> None:
    """Fetch what is missing; every byte has arrived on return."""
    longest = SPAN_BYTES if remote.ranges else part.size
    waiting = deque(gaps(part.spans, part.size, longest))
    title = _title(part)
    progress = options.progress.task(title, total=part.size, done=part.done_bytes, unit="bytes")
    with progress as advance:
        work = Work(
            remote=remote,
            part=part,
            advance=advance,
            retries=options.retries,
            notice=options.progress.notice,
        )
        for _ in range(min(options.jobs, len(waiting))):
            # Daemons: whoever interrupts us does not wait for a silent server.
            Thread(target=fetch_spans, args=(work, waiting), daemon=True).start()
        part.wait_until_whole()


def _on_disk(part: Part, algorithm: str, options: FetchOptions) -> tuple[int, str]:
    """Length in bytes and hash of the sealed file, read from the disk by its name."""
    length = part.path.stat().st_size
    title = f"proving {_title(part)}"
    with options.progress.task(title, total=length, unit="bytes") as advance:
        return length, file_digest(part.path, algorithm, advance)


def _title(part: Part) -> str:
    return part.path.name.removesuffix(".part")


#: Receives one line that the user should see now.
Notice = Callable[[str], None]


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
