"""A command run by a user to whom the modes of files apply, also where the tests run as root."""

from __future__ import annotations

import ctypes
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

from harness.cli.main import run
from tests.attack.trials import Ended

#: Capabilities of Linux (capabilities(7)) with which root passes over modes and owners of files.
OVERRIDES = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_FOWNER": 3}

#: Of capget(2): the third version, which has two words of each set.
VERSION = 0x20080522


def give_up_overrides() -> None:
    """Give up what lets root pass over modes of files, in this process; others have none."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper words
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for number in OVERRIDES.values():
        for place in range(3):
            sets[place] &= ~(1 << number)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def by_stranger(*words: object, folder: Path, streams: Path) -> Ended:
    """Run a command in ``folder`` in a process to which modes of files apply.

    Args:
        words: The command line.
        folder: The working folder.
        streams: A folder for what it prints.
    """
    out, err, begun = streams / "out.txt", streams / "err.txt", time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
        child = os.fork()
    if child == 0:
        code = 99
        try:
            with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
                os.chdir(folder)
                give_up_overrides()
                try:
                    code = run([str(word) for word in words])
                except BaseException:
                    traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        out=out.read_text(encoding="utf-8"),
        err=err.read_text(encoding="utf-8"),
        seconds=time.monotonic() - begun,
    )
