"""One process at a time in a folder, on this machine or on any that shares its file system.

The kernel holds the lock, not the file: it is free the moment its holder ends, however it ends, so
there is no stale lock to guess about. The file stays behind; removing it would let two in.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from harness.core.errors import PrerequisiteError, UsageError
from harness.files.failures import is_refusal, unwritable

#: What file systems that cannot lock answer (NFS without its lock service, Lustre without flock).
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def held(path: Path, *, notice: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock until the block ends; wait for the process that holds it.

    Args:
        path: The file of the lock, in a folder that exists.
        notice: Called once, with who holds it, when there is something to wait for.

    Raises:
        PrerequisiteError: The file system has no locks.
        UsageError: The file cannot be written.
    """
    lock = _lock(path)
    with _lock_errors(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            notice(f"waiting for {_holder(path) or 'another process'}, at work here: {path}")
            lock.acquire()
    with _released(lock):
        _sign(path)
        yield


@contextmanager
def held_at_once(path: Path, *, hint: str) -> Iterator[None]:
    """Hold a lock until the block ends, without waiting for it.

    Args:
        path: The file of the lock, in a folder that exists.
        hint: What to do when another process holds it.

    Raises:
        PrerequisiteError: The file system has no locks.
        UsageError: Another process holds it, or the file cannot be written.
    """
    lock = _lock(path)
    with _lock_errors(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"another process is at work in {path.parent}", hint=hint) from None
    with _released(lock):
        _sign(path)
        yield


def _lock(path: Path) -> FileLock:
    # The fallback of a file that exists would outlive a process that is killed.
    return FileLock(path, fallback_to_soft=False)


@contextmanager
def _released(lock: FileLock) -> Iterator[None]:
    try:
        yield
    finally:
        lock.release()


def _sign(path: Path) -> None:
    """Say in a held lock who holds it, for those that wait."""
    with suppress(OSError):  # some systems do not let anyone write to a locked file
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")


def _holder(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


@contextmanager
def _lock_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in UNSUPPORTED:
            raise PrerequisiteError(
                f"the file system of {path} has no locks: {error.strerror}",
                hint="choose a folder on another one, such as with --root or --output, or have it "
                "mounted with locks (Lustre: flock)",
            ) from error
        if is_refusal(error):
            raise _of_another_user(path, error) or unwritable(path, error) from error
        raise


def _of_another_user(path: Path, error: OSError) -> UsageError | None:
    """The error for a lock that another user of a shared folder made; None for any other."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return None
    try:
        owner = path.stat().st_uid
        name = path.owner()
    except KeyError:  # a user without a name, such as of another machine
        name = f"number {owner}"
    except OSError:
        return None
    if owner == os.geteuid():
        return None
    return UsageError(
        f"cannot lock {path.parent}: {path.name} there belongs to the user {name}",
        hint=f"have them share it: chmod a+w {shlex.quote(str(path))}; or choose a folder of your "
        "own, such as with --root, --results or --output",
    )
