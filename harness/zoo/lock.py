"""The lock file: read, validated, searched."""

from __future__ import annotations

import difflib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from harness.core.errors import IntegrityError, UsageError
from harness.core.model import Artefact, Lock, ModelEntry
from harness.files.json import parse, to_typed
from harness.files.layout import find_lock
from harness.files.readable import read_bytes


def read_lock(path: Path | None = None) -> Lock:
    """The validated lock.

    Args:
        path: Path of the file; None finds it (``harness.files.layout.find_lock``).

    Raises:
        IntegrityError: It does not fit its schema, or names a checkpoint it does not contain.
    """
    path = path or find_lock()
    return _validated(read_bytes(path), path)


@lru_cache(maxsize=4)
def _validated(content: bytes, path: Path) -> Lock:
    """The lock in these bytes: one command asks for it several times."""
    lock = to_typed(Lock, parse(path, content), where=str(path))
    known = {artefact.name for artefact in lock.artefacts}
    for entry in lock.models:
        named = {
            "checkpoint": entry.checkpoint,
            "region proposals": entry.proposals,
            "region proposals of its training": entry.training_proposals,
        }
        for what, name in named.items():
            if name is not None and name not in known:
                raise IntegrityError(
                    f"{path}: model {entry.name} names the {what} {name}, which is not among the "
                    "artefacts"
                )
    return lock


def find_model(lock: Lock, name: str) -> ModelEntry:
    """The model entry of a name.

    Raises:
        UsageError: There is none; with the nearest name.
    """
    names = [entry.name for entry in lock.models]
    if name in names:
        return lock.models[names.index(name)]
    kind = _kind_of_path(name)
    if kind is not None:
        raise UsageError(
            f"{name!r} is a {kind} here, not a model entry",
            hint="name the weights of a training by --weights RUN/model_best.safetensors, and by "
            "--model the entry it began with; see: harness models",
        )
    same = [entry.name for entry in lock.models if entry.checkpoint == name]
    near = same or difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    raise UsageError(
        f"unknown model {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint=f"there are {len(names)}; see: harness models",
    )


def _kind_of_path(name: str) -> str | None:
    """What is there under a name; None where nothing is, or where no path can have it."""
    path = Path(name)
    with suppress(OSError, ValueError):
        if name and path.exists():
            return "folder" if path.is_dir() else "file"
    return None


def find_artefact(lock: Lock, name: str) -> Artefact:
    """The artefact of a name.

    Raises:
        IntegrityError: The lock has none.
    """
    for artefact in lock.artefacts:
        if artefact.name == name:
            return artefact
    raise IntegrityError(f"the lock has no artefact {name!r}")
