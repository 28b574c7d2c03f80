"""A file that others cannot open yet: a process that needs it stands still where the test wants.

The kernel holds whoever opens a leased file back until its holder lets go, for at most
``/proc/sys/fs/lease-break-time`` (45 s).
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def leased(path: Path) -> Iterator[Callable[[], None]]:
    """Nobody opens ``path`` before the function that is yielded was called, or the block ends."""
    # The kernel tells the holder that somebody waits; by default that would end it.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)

        def release() -> None:
            if fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_UNLCK:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)

        try:
            yield release
        finally:
            release()
    signal.signal(signal.SIGIO, before)
