"""Downloads that resume after any break, use several connections, and are proven before they count.

The order of events: look at the address; fetch the missing spans, several at once; refuse further
bytes; hash the file as it is on the disk and compare length and hash; give the file its name. A
file that has its name is complete and proven.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Literal

from harness.core.errors import HarnessError, IntegrityError
from harness.core.progress import Progress
from harness.files.atomic import disk_errors
from harness.files.connections import (
    RETRY_POLICY,
    RetryPolicy,
    Work,
    fetch_spans,
    look_with_retries,
)
from harness.files.digest import file_digest
from harness.files.parts import Part, gaps, open_part
from harness.files.transport import ANOTHER_MIRROR, Changed, Remote

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
        RunFailedError: No address answers, or the disk is full.
        UsageError: Nothing may be written there.
    """
    failures: list[HarnessError] = []
    with disk_errors(target):
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
