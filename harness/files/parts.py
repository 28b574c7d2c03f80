"""Files that arrive in pieces, in any order, and survive being cut off at any moment.

``name.part`` has the bytes at their final positions; ``name.part.journal`` says which of them have
arrived, with a checksum of their content, so that only what is still as it arrived is used. A
killed process loses what it wrote since its last line there: at most 1 MiB a connection.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event

from harness.files.atomic import write_text
from harness.files.digest import READ_BYTES
from harness.files.json import dumps
from harness.files.transport import Remote

#: Bytes from … up to (not including) ….
Span = tuple[int, int]

JOURNAL_STEP_BYTES = 1 << 20

#: A line of the journal: start, end, checksum. Positions are below a thousand terabytes.
SPAN_LINE = re.compile(rb"([0-9]{1,15}) ([0-9]{1,15}) ([0-9a-f]{8})")

#: More than the journal of a file of 100 TB has; anything longer is not ours.
LONGEST_JOURNAL_BYTES = 1 << 30


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same positions as disjoint spans in order, neighbours joined."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        elif start < end:
            result.append((start, end))
    return result


def gaps(spans: Iterable[Span], size: int, longest: int) -> list[Span]:
    """What ``spans`` leave of 0 … size, in order, cut to pieces of at most ``longest``."""
    position, result = 0, []
    for start, end in [*merged(spans), (size, size)]:
        while position < min(start, size):
            stop = min(position + longest, start, size)
            result.append((position, stop))
            position = stop
        position = max(position, end)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A span that has arrived, and the checksum of its numbers and its content."""

    start: int
    """The first byte."""

    end: int
    """The byte after the last one."""

    checksum: int
    """CRC-32 of both numbers and the bytes."""

    def __str__(self) -> str:
        return f"{self.start} {self.end} {self.checksum:08x}\n"


class Stopped(Exception):
    """The part takes no more bytes."""


class Part:
    """A file that is being fetched: several threads write to it, one waits for them.

    No byte is written twice and none beyond the end. Once ``seal`` has returned nothing is written
    at all, so what is hashed afterwards is what takes the file's name.

    Attributes:
        path: The file.
        size: Its length in bytes once it is whole.
        spans: What has arrived.
        stopped: Set when nothing more is wanted. A thread that wakes up later is refused: the
            descriptor may be another file's by then.
    """

    def __init__(self, path: Path, header: str, lines: list[Line], size: int) -> None:
        self.path = path
        self.size = size
        self.spans = merged((line.start, line.end) for line in lines)
        self.stopped = Event()
        self._changed = Condition()
        self._failure: Exception | None = None
        self._unsaved: list[Span] = []
        write_text(_journal(path), "".join([header, *map(str, lines)]))
        self._journal = _journal(path).open("ab", buffering=0)
        if not lines:  # made by this process: what is there may be a link, or a pipe
            path.unlink(missing_ok=True)
        self._file = path.open("r+b" if lines else "x+b", buffering=0)

    @property
    def done_bytes(self) -> int:
        """How many bytes have arrived."""
        return _total(self.spans)

    def reached(self, start: int = 0) -> int:
        """How far the file is complete from ``start`` on."""
        return next((end for begin, end in self.spans if begin <= start < end), start)

    def write(self, position: int, data: bytes) -> None:
        """Put ``data`` where it belongs.

        Raises:
            Stopped: No more bytes are wanted.
            ValueError: Some of these bytes have arrived before, or are beyond the end. What has
                arrived may have been read already and must stay as it is.
        """
        with self._changed:
            if self.stopped.is_set():
                raise Stopped
            self._require_new(position, position + len(data))
            written = 0
            while written < len(data):
                written += os.pwrite(self._file.fileno(), data[written:], position + written)
            span = (position, position + len(data))
            self.spans = merged([*self.spans, span])
            self._unsaved = merged([*self._unsaved, span])
            if _total(self._unsaved) >= JOURNAL_STEP_BYTES:
                self._save()
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Wake the waiting thread because no more bytes will come; the first failure counts."""
        with self._changed:
            self._failure = self._failure or error
            self.stopped.set()
            self._changed.notify_all()

    def wait_until_whole(self) -> None:
        """Return when every byte has arrived; raise what a writer failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._whole() or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def seal(self) -> None:
        """Refuse all further bytes, and have the disk hold those that arrived."""
        with self._changed:  # a writer that holds the lock has finished its write by then
            self.stopped.set()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Keep what has arrived for another time."""
        with self._changed:
            self.stopped.set()
            with suppress(OSError):  # the disk may be full; the bytes will be fetched again
                self._save()
            self._journal.close()
            self._file.close()

    def finish(self, target: Path) -> None:
        """Give the sealed and proven file its name."""
        self.path.replace(target)
        _journal(self.path).unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget everything that has arrived."""
        self.path.unlink()
        _journal(self.path).unlink()

    def _whole(self) -> bool:
        return self.reached() >= self.size

    def _require_new(self, start: int, end: int) -> None:
        overlaps = any(start < known_end and known < end for known, known_end in self.spans)
        if overlaps or start < 0 or end > self.size:
            raise ValueError(
                f"{self.path}: bytes {start:,} to {end:,} of {self.size:,} are not wanted"
            )

    def _save(self) -> None:
        lines = (
            Line(start=start, end=end, checksum=_checksum(self._file.fileno(), start, end))
            for start, end in self._unsaved
        )
        self._journal.write("".join(map(str, lines)).encode())
        self._unsaved = []


@contextmanager
def open_part(
    target: Path, remote: Remote, size: int, notice: Callable[[str], None]
) -> Iterator[Part]:
    """Open what has arrived of a file if it is of the same remote file, else an empty part.

    Args:
        target: The file to be.
        remote: What the server says of the file.
        size: Its length in bytes, from the server or the lock.
        notice: Receives a line when something has arrived before and cannot be used.
    """
    path = part_path(target)
    header = dumps({"size": remote.size, "validator": remote.validator}) + "\n"
    part = Part(path, header, _resumable(path, header, remote, size, notice), size)
    try:
        yield part
    finally:
        part.close()


def part_path(target: Path) -> Path:
    """Return where ``target`` is while it is fetched."""
    return target.with_name(target.name + ".part")


def remove_orphan(target: Path) -> None:
    """Remove the journal of a file that has its name: what fetched it was ended just then."""
    path = part_path(target)
    if target.is_file() and not path.exists():
        with suppress(OSError):
            _journal(path).unlink()


def arrived_bytes(target: Path) -> int:
    """Return how much of ``target`` an interrupted download left behind, as its journal says."""
    path = part_path(target)
    if not path.is_file():
        return 0
    _, lines, _ = _read_journal(path)
    return _total(merged((line.start, line.end) for line in lines))


def _resumable(
    path: Path, header: str, remote: Remote, size: int, notice: Callable[[str], None]
) -> list[Line]:
    """What of the part can be used: nothing if it may be of another file, or was not written here.

    Without a validator or ranges nothing shows that the rest would be of the same file.
    """
    if not (remote.ranges and remote.validator and _is_plain(path)):
        return []
    name = path.name.removesuffix(".part")
    first, lines, whole = _read_journal(path)
    if first == header and whole and path.stat().st_size <= size:
        kept = [line for line in lines if line.end <= size and _is_as_it_arrived(path, line)]
        if len(kept) < len(lines):
            notice(f"{name}: some of what has arrived is damaged; fetching that again")
        return kept
    if first is not None and first != header and _is_header(first):
        notice(f"{name}: what has arrived is of another version of the file; starting again")
    else:
        notice(f"{name}: what has arrived, or {_journal(path).name}, is damaged; starting again")
    return []


def _read_journal(path: Path) -> tuple[str | None, list[Line], bool]:
    """The header, the spans, and whether there is nothing else.

    The last line may have been cut off. The header is None for what is not text or not there.
    """
    journal = _journal(path)
    if not _is_plain(journal):
        return None, [], False
    try:
        if journal.stat().st_size > LONGEST_JOURNAL_BYTES:
            return None, [], False
        first, *rest = journal.read_bytes().split(b"\n")
        header = first.decode() + "\n"
    except (OSError, UnicodeDecodeError):
        return None, [], False
    found = [SPAN_LINE.fullmatch(line) for line in rest[:-1]]  # the last one is empty, or cut off
    lines = [
        Line(start=int(one[1]), end=int(one[2]), checksum=int(one[3], 16)) for one in found if one
    ]
    sound = all(line.start < line.end for line in lines)
    return header, lines if sound else [], sound and len(lines) == len(found)


def _is_plain(path: Path) -> bool:
    """Whether a file is one that bytes can be written to without changing another one."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _is_header(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_as_it_arrived(path: Path, line: Line) -> bool:
    with path.open("rb", buffering=0) as file:
        return _checksum(file.fileno(), line.start, line.end) == line.checksum


def _checksum(descriptor: int, start: int, end: int) -> int:
    """CRC-32 of a span's numbers and of its content as far as the file reaches."""
    checksum = zlib.crc32(b"%d %d" % (start, end))
    while start < end and (piece := os.pread(descriptor, min(READ_BYTES, end - start), start)):
        checksum = zlib.crc32(piece, checksum)
        start += len(piece)
    return checksum if start == end else -1


def _journal(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def _total(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)
