"""Files that are either whole or absent, and line files that survive being cut off.

Trade-off: every write costs an fsync, which is right for records and shards and too slow for
thousands of tiny files; nothing here writes thousands.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import RunFailedError, UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    The name carries the process id, so several processes may write the same file: the last whole
    one wins. Raises UsageError when the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """``path`` holds ``text`` (UTF-8), or what it held before.

    Half characters of names that are no UTF-8 become question marks: no such file can hold them.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def unwritable(path: Path, error: OSError) -> UsageError:
    """The error for a place that cannot be written, with what to do."""
    return UsageError(
        f"cannot write {path}: {error.strerror or error}",
        hint="choose a place that can be written",
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Failures of the disk in the block as errors that name ``path`` or the file they befell.

    Raises UsageError where nothing may be written, RunFailedError for a full disk and the rest.
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
