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
    """The file on its way; threads write to it, one reads behind them.

    spans: what has arrived. stopped: set when nothing more is wanted. A thread that wakes up later
    is refused: the descriptor may be another file's by then.
    """

    def __init__(self, path: Path, header: str, spans: list[Span]) -> None:
        self.path = path
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
        """Put ``data`` where it belongs; raises Stopped when it is not wanted any more."""
        with self._changed:
            if self.stopped.is_set():
                raise Stopped
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
        """Tell whoever waits that no more will come; the first failure counts."""
        with self._changed:
            self._failure = self._failure or error
            self.stopped.set()
            self._changed.notify_all()

    def wait_beyond(self, position: int) -> int:
        """How far the file is complete from its beginning, once that is beyond ``position``.

        Raises what a writer failed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.reached() > position or self._failure is not None)
            if self._failure is not None:
                raise self._failure
            return self.reached()

    def close(self) -> None:
        """Keep what has arrived for another time."""
        with self._changed:
            self.stopped.set()
            with suppress(OSError):  # the disk may be full; the bytes will be fetched again
                self._save()
            self._journal.close()
            self._file.close()

    def finish(self, target: Path) -> None:
        """The complete file takes its name."""
        os.fsync(self._file.fileno())
        self.path.replace(target)
        _journal(self.path).unlink()

    def discard(self) -> None:
        """Forget everything that has arrived."""
        self.path.unlink()
        _journal(self.path).unlink()

    def _save(self) -> None:
        self._journal.write("".join(map(_line, self._unsaved)).encode())
        self._unsaved = []


@contextmanager
def open_part(target: Path, remote: Remote) -> Iterator[Part]:
    """What has arrived of ``target``, when it is of the same remote file; else an empty part."""
    path = part_path(target)
    header = dumps({"size": remote.size, "validator": remote.validator}) + "\n"
    part = Part(path, header, _resumable(path, header, remote))
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


def _resumable(path: Path, header: str, remote: Remote) -> list[Span]:
    """Without a validator or ranges, nothing says that the rest would be of the same file."""
    if not (remote.ranges and remote.validator and path.is_file()):
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
