"""One process at a time in a folder, on this machine or on any that shares its file system.

The kernel holds the lock, not the file: it is free the moment its holder ends, however it ends, so
there is no stale lock to guess about. The file stays behind; removing it would let two in.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.core.errors import PrerequisiteError

#: What file systems that cannot lock answer (NFS without its lock service, Lustre without flock).
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def held(path: Path, *, notice: Callable[[str], None]) -> Iterator[None]:
    """The lock ``path`` is this process's until the block ends; waits for its holder.

    notice: told once, with who holds it, when there is something to wait for. Raises
    PrerequisiteError where the file system has no locks.
    """
    with path.open("a+", encoding="utf-8") as file:
        if not _taken(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            file.seek(0)
            notice(f"waiting for {file.read().strip() or 'another process'}, at work here: {path}")
            _taken(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _taken(file: IO[str], operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        raise PrerequisiteError(
            f"the file system of {file.name} has no locks: {error.strerror}",
            hint="choose a --root on another one, or have it mounted with locks (Lustre: flock)",
        ) from error
    return True
