"""Files that arrive in pieces, in any order, and survive being cut off at any moment.

``name.part`` has the bytes at their final positions; ``name.part.journal`` says which of them have
arrived. A killed process loses what it wrote since its last line there: at most 1 MiB a connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Event

from harness.files.atomic import write_text
from harness.files.json import dumps
from harness.files.transport import Remote

#: Bytes from … up to (not including) ….
Span = tuple[int, int]

JOURNAL_STEP_BYTES = 1 << 20

#: A whole line of the journal; the last one may have been cut off.
SPAN_LINE = re.compile(r"\d+ \d+\n")


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

    def __init__(self, path: Path, header: str, spans: list[Span], size: int) -> None:
        self.path = path
        self.size = size
        self.spans = spans
        self.stopped = Event()
        self._changed = Condition()
        self._failure: Exception | None = None
        self._unsaved: list[Span] = []
        write_text(_journal(path), "".join([header, *map(_line, spans)]))
        self._journal = _journal(path).open("ab", buffering=0)
        self._file = path.open("r+b" if spans else "wb", buffering=0)

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
        _journal(self.path).unlink()

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
        self._journal.write("".join(map(_line, self._unsaved)).encode())
        self._unsaved = []


@contextmanager
def open_part(target: Path, remote: Remote, size: int) -> Iterator[Part]:
    """What has arrived of ``target`` if it is of the same remote file, else an empty part.

    Args:
        target: The file to be.
        remote: What the server says of the file.
        size: Its length in bytes, from the server or the lock.
    """
    path = part_path(target)
    header = dumps({"size": remote.size, "validator": remote.validator}) + "\n"
    part = Part(path, header, _resumable(path, header, remote, size), size)
    try:
        yield part
    finally:
        part.close()


def part_path(target: Path) -> Path:
    """Where ``target`` grows."""
    return target.with_name(target.name + ".part")


def arrived_bytes(target: Path) -> int:
    """How much of ``target`` a broken download left behind."""
    path = part_path(target)
    return _total(_spans(path)) if path.is_file() else 0


def _resumable(path: Path, header: str, remote: Remote, size: int) -> list[Span]:
    """What of the part can be used; nothing if it may be of another file or is too long.

    Without a validator or ranges nothing shows that the rest would be of the same file.
    """
    if not (remote.ranges and remote.validator and path.is_file()):
        return []
    if path.stat().st_size > size:
        return []
    lines = _lines(path)
    return _spans(path) if lines and lines[0] == header else []


def _spans(path: Path) -> list[Span]:
    """Spans of the journal that the file is long enough to hold."""
    length = path.stat().st_size
    numbers = [line.split() for line in _lines(path)[1:] if SPAN_LINE.fullmatch(line)]
    return [span for span in merged((int(a), int(b)) for a, b in numbers) if span[1] <= length]


def _lines(path: Path) -> list[str]:
    try:
        return _journal(path).read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _journal(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def _total(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def _line(span: Span) -> str:
    return f"{span[0]} {span[1]}\n"
