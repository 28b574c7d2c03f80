"""Parts of one run at work beside each other: who is, and waiting for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.run_files import SHARDS
from harness.files.locks import held, held_at_once
from harness.workflows.runs.shards import Notice, lock_of, read_identity, shard_paths, silent


@contextmanager
def being_part(run_folder: Path) -> Iterator[None]:
    """Show until the block ends that a part of a run is at work, perhaps without a shard yet.

    To be entered while the run folder is locked: whoever locks it afterwards sees this part.

    Args:
        run_folder: The run folder.
    """
    lock = run_folder / SHARDS / f".part-{uuid.uuid4().hex}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with held(lock, notice=silent):
            yield
    finally:
        with suppress(OSError):  # no other part has its name, which is new each time
            lock.unlink(missing_ok=True)


def parts_at_work(run_folder: Path) -> bool:
    """Return whether a part of a run is at work, such as in another process.

    Args:
        run_folder: The run folder, which is locked.
    """
    for lock in (run_folder / SHARDS).glob(".part-*.lock"):
        try:
            with held_at_once(lock, hint=""):
                pass
        except UsageError:
            return True
    return False


def has_begun(run_folder: Path) -> bool:
    """Return whether a run has an identity, or a shard of a version without one."""
    return read_identity(run_folder) is not None or bool(shard_paths(run_folder))


def wait_for_writers(run_folder: Path, notice: Notice) -> None:
    """Wait for every process that is still at work on shards of a run, such as parts elsewhere.

    Args:
        run_folder: The run folder, which is locked: no part can begin meanwhile.
        notice: Called with each process that is waited for.
    """
    for lock in sorted((run_folder / SHARDS).glob(".part-*.lock")):
        with held(lock, notice=notice):
            pass
        with suppress(OSError):  # of a part that was killed
            lock.unlink(missing_ok=True)
    for path in shard_paths(run_folder):
        if (lock := lock_of(path)).exists():
            with held(lock, notice=notice):
                pass
