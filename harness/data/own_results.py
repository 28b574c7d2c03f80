"""Folders with results of this program: what is in them is no input, unless they are named.

Whoever writes drawings into the folder of the images would otherwise find objects in drawings the
next time, and read predictions as annotations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness.core.run_files import PAGE, RUN

#: A run folder, by the beginning of its ``run.json``.
RUN_BEGINS = re.compile(rb'\s*\{\s*"run_id"\s*:')

#: A folder of drawings without a run, by the head of its page.
GENERATOR = '<meta name="generator" content="harness">'

#: Bytes that are looked into.
HEAD = 400


def is_own_result(folder: Path) -> bool:
    """Return whether a folder is a run folder, or has a page of drawings."""
    return bool(RUN_BEGINS.match(_head(folder / RUN))) or GENERATOR.encode() in _head(folder / PAGE)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what ``folder.rglob`` does, without what is in folders of results below the folder.

    Args:
        folder: Itself may be one: it was named.
        pattern: As in ``Path.rglob``.
    """
    known: dict[Path, bool] = {}
    for path in folder.rglob(pattern):
        if not in_own_result(path, folder, known):
            yield path


def in_own_result(path: Path, root: Path, known: dict[Path, bool]) -> bool:
    """Return whether a file is in a folder of results below another folder.

    Args:
        path: Below ``root``.
        root: Where the search begins; itself does not count.
        known: Folders that were looked at before; changed.
    """
    parent = path.parent
    if parent == root or root not in parent.parents:
        return False
    if parent not in known:
        known[parent] = is_own_result(parent) or in_own_result(parent, root, known)
    return known[parent]


def results_below(folder: Path) -> Iterator[Path]:
    """Yield the folders of results below a folder, the outermost of each."""
    for place, folders, _ in os.walk(folder):
        for name in sorted(folders):
            if is_own_result(Path(place, name)):
                folders.remove(name)
                yield Path(place, name)
