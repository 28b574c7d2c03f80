"""What the names of files stand for: a device has no end, a pipe waits for its writer, a link may
lead to itself.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from harness.core.errors import UsageError


def not_a_file(path: Path) -> str | None:
    """Why what is under a name must not be read; a link in a folder of others may be to a device.

    Args:
        path: Any path; it need not exist.

    Returns:
        The reason as the end of a sentence. None for files, folders and names of nothing; also for
        what a shell hands over as ``<(…)`` or as ``/dev/stdin``, and for the empty device.

    Raises:
        ValueError: No file system can hold the name.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return None if resolved(path) == Path(os.devnull) else "it is a device, not a file"
    if stat.S_ISFIFO(mode) and resolved(path).exists():  # one without a name has a writer already
        return "it is a pipe, not a file; a shell's <(…) can be read"
    return None


def require_end(path: Path) -> None:
    """Check that what is under a name ends when it is read.

    Raises:
        UsageError: It is a device or a pipe with a name.
        ValueError: No file system can hold the name.
    """
    reason = not_a_file(path)
    if reason is not None:
        raise UsageError(f"cannot read {path}: {reason}")


def read_bytes(path: Path) -> bytes:
    """The content of a file that a user named.

    Raises:
        UsageError: It is not there or cannot be read.
    """
    try:
        require_end(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a name that no file system can hold
        raise UsageError(f"cannot read {path}: {error}") from error


def resolved(path: Path) -> Path:
    """The absolute place without links; of a link in a circle, which stands for nothing, its own.

    ``Path.resolve`` raises a RuntimeError for that one, in some versions of Python.
    """
    return Path(os.path.realpath(path))
