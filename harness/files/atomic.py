"""Files that are either whole or absent, and line files that survive being cut off.

Trade-off: every write costs an fsync, which is right for records and shards and too slow for
thousands of tiny files; nothing here writes thousands.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.errors import RunFailedError, UsageError
from harness.files.leftovers import remove_leftovers_in_turn, temporary_path

#: Nothing may be written, or a file is where a folder should be, or the other way round.
REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` when the block ends without an error.

    The name carries the process id, so several processes may write the same file: the last whole
    one wins. What killed processes left in the folder is removed.

    Raises:
        UsageError: Nothing may be written there.
    """
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers_in_turn(path.parent)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if is_refusal(error):
            raise unwritable(path, error) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """``path`` holds ``text`` (UTF-8), or what it held before.

    Half characters of names that are no UTF-8 become question marks: no such file can hold them.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def is_refusal(error: OSError) -> bool:
    """Whether the system refuses to write there at all, as opposed to a disk that is full."""
    return error.errno in REFUSALS


def unwritable(path: Path, error: OSError) -> UsageError:
    """Return the error for a place that cannot be written, with what to do."""
    return UsageError(
        f"cannot write {path}: {error.strerror or error}",
        hint="choose a place that can be written",
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn failures of the disk in the block into errors that name the file they happened to.

    Args:
        path: Named where the failure names no file.

    Raises:
        UsageError: Nothing may be written there.
        RunFailedError: The disk is full, and the rest.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot write {error.filename or path}: {error.strerror or error}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(message, hint="choose a writable folder with --root") from error
        raise RunFailedError(
            message, hint="what has arrived is kept: make room, then give the same command again"
        ) from error
