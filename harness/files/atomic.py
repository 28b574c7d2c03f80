"""Files that are either whole or absent, and line files that survive being cut off.

Trade-off: every write costs an fsync, which is right for records and shards and slow for thousands
of small files; only the maps of a panoptic run are as many. What is not whole yet has a temporary
name; that of a killed process is removed by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from harness.core.errors import UsageError
from harness.files.failures import is_refusal, unwritable


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` when the block ends without an error.

    The name carries the process id, so several processes may write the same file: the last whole
    one wins. What killed processes left in the folder is removed.

    Raises:
        UsageError: Nothing may be written there.
        OSError: The disk is full, or fails; it names ``path``.
    """
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if is_refusal(error):
            raise unwritable(path, error) from error
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        # A write that failed names no file, and the others the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_file_name(path: Path) -> None:
    """Check that a file can have this name; a file beside it would have none otherwise.

    Raises:
        UsageError: It can only be a folder: ``.``, ``..``, ``/``, or what an empty text comes to.
    """
    if path.name in ("", ".."):
        raise UsageError(
            f"cannot write {path}: it is a folder, not a file", hint="name the file to write"
        )


def write_text(path: Path, text: str) -> None:
    """``path`` holds ``text`` (UTF-8), or what it held before.

    Half characters of names that are not UTF-8 become question marks: no such file can hold them.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def open_to_append(path: Path) -> TextIO:
    """Open a text file (UTF-8) that lines are added to, such as the log of a run.

    Whoever handed over the folder may have put a link there; no other file is added to.

    Raises:
        OSError: It is a link (ELOOP), or cannot be written.
    """
    return open(path, "a", encoding="utf-8", opener=_without_links)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


#: ``.NAME.HOST-PID.tmp`` with the ending of the file where a library goes by it.
TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<pid>[0-9]{1,10})\.tmp(\.[^.]+)?")

#: Other machines that share the folder may still write; none takes this long for one file. Chosen.
FOREIGN_AGE_S = 24 * 3600.0

#: The namespace of this process's id; and the number of that outside of all containers (Linux:
#: PROC_PID_INIT_INO).
PROCESSES, FIRST_NAMESPACE = Path("/proc/self/ns/pid"), 0xEFFFFFFC

#: Share of a process's time that goes into looking for leftovers, at most. Chosen.
LOOKING_SHARE = 0.05

#: Folder → when this process looks through it again, on the monotonic clock.
_DUE: dict[Path, float] = {}


def temporary_path(path: Path, *, ending: str = "") -> Path:
    """Return where to write a file until it is whole: beside it, hidden, named after the process.

    What killed processes left in the folder is removed, for whatever file it was.

    Args:
        path: The file to be.
        ending: An ending for libraries that go by it, with its dot.
    """
    remove_leftovers_in_turn(path.parent)
    return named_after_process(path, ending=ending)


def named_after_process(path: Path, *, ending: str = "") -> Path:
    """Return the name alone, as of ``temporary_path``; nothing is removed.

    Raises:
        UsageError: ``path`` can only be a folder.
    """
    require_file_name(path)
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.tmp{ending}")


def remove_leftovers(folder: Path, *, begin: str = ".") -> list[Path]:
    """Remove temporary files and folders whose process has ended without doing so.

    Args:
        folder: Where they are.
        begin: What their names begin with, where a folder is shared with other programs.

    Returns:
        What was removed. What cannot be removed stays: it does no harm.
    """
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = TEMPORARY.fullmatch(entry.name)
            if not found or not entry.name.startswith(begin):
                continue
            if _is_left_over(entry, found["host"], int(found["pid"])):
                path = Path(entry.path)
                with suppress(OSError):
                    shutil.rmtree(path) if entry.is_dir(follow_symlinks=False) else path.unlink()
                    removed.append(path)
    return removed


def remove_leftovers_in_turn(folder: Path) -> None:
    """Remove leftovers, unless this process has just looked through the folder.

    A folder that is written thousands of files to would otherwise be listed as often.
    """
    begun = time.monotonic()
    if begun >= _DUE.get(folder, begun):
        remove_leftovers(folder)
        ended = time.monotonic()
        _DUE[folder] = ended + (ended - begun) / LOOKING_SHARE


def _is_left_over(entry: os.DirEntry[str], host: str, pid: int) -> bool:
    if host == _host():
        return pid != os.getpid() and not _is_alive(pid)
    with suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > FOREIGN_AGE_S
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process; or no process id
        return True
    # A container whose first process waits for no other keeps what has ended in its table.
    with suppress(OSError, IndexError):
        state = Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()[0]
        return state not in (b"Z", b"X")
    return True


def _host() -> str:
    """What process ids are of: a machine, or a container.

    One with the network of its machine has the machine's name as well, and process ids of its own.
    """
    name = re.sub(r"[^\w]", "_", socket.gethostname()) or "host"
    with suppress(OSError):  # there are no namespaces
        namespace = PROCESSES.stat().st_ino
        if namespace != FIRST_NAMESPACE:
            return f"{name}_{namespace}"
    return name
