"""Folders among the temporary files of the system, removed by the next process after a kill."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path
from uuid import uuid4

from harness.files.atomic import named_after_process, remove_leftovers

#: Of the folder of sockets; addresses have 107 bytes at most, and names of sockets 18.
LONGEST_SOCKETS_BYTES = 85

#: How the names of the folders begin.
BEGIN = "harness-"


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Yield a folder among the system's temporary files, which is removed after the block.

    Args:
        purpose: A part of its name.
    """
    folder = _new(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def claim_sockets() -> None:
    """Have ``multiprocessing`` put the sockets of this process where the next one finds them.

    It would make a folder of any name, which stays once the process was killed. Does
    nothing where it has one already, or where names would be too long for a socket.
    """
    settings = getattr(multiprocessing.current_process(), "_config", None)
    if not isinstance(settings, dict) or settings.get("tempdir") is not None:
        return
    with suppress(OSError):  # it then makes its own, or says why it cannot
        folder = _new("mp")
        if len(str(folder).encode()) > LONGEST_SOCKETS_BYTES:
            folder.rmdir()
            return
        settings["tempdir"] = str(folder)
        # As its own is removed: by the process that made it, after everything else.
        Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)


def _new(purpose: str) -> Path:
    """Make a folder; those of killed processes are removed before, and no other program's."""
    everyones = Path(tempfile.gettempdir())
    remove_leftovers(everyones, begin=f".{BEGIN}")
    folder = named_after_process(everyones / f"{BEGIN}{purpose}-{uuid4().hex[:6]}")
    folder.mkdir(mode=0o700)
    return folder
