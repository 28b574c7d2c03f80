"""Processes that end when the process that started them has ended."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent(number: int) -> None:
    """Have a child of ``multiprocessing`` signal itself when its parent has ended, however.

    A parent that is killed stops no child, and its children would go on writing to its run.

    Args:
        number: The signal; it arrives while Python code runs, C code that keeps Python's lock is
            ended by its return.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, name="parent", daemon=True).start()
