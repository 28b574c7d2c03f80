"""What a download request means: which artefacts, and where they come from."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from harness.core.errors import UsageError
from harness.core.model import GROUPS, Artefact, Lock
from harness.core.requests.zoo import DownloadRequest
from harness.files.transport import SCHEMES
from harness.zoo.lock import find_model

#: Groups of checkpoints of model entries: Detectron2's, and torchvision's.
CHECKPOINT_GROUPS = ("checkpoints", "torchvision")


def chosen(lock: Lock, request: DownloadRequest) -> list[Artefact]:
    """The artefacts asked for, in the lock's order: annotations come before images they prove."""
    for group in request.only:
        if group not in GROUPS:
            near = difflib.get_close_matches(group, GROUPS, n=1)
            raise UsageError(
                f"unknown group {group!r}" + (f"; did you mean {near[0]}?" if near else ""),
                hint=f"--only takes some of {','.join(GROUPS)}",
            )
    named = {_checkpoint(lock, name) for name in request.models}
    if named and not set(request.only) & set(CHECKPOINT_GROUPS):
        raise UsageError("--model chooses among checkpoints, which --only leaves out")
    found = [one for one in lock.artefacts if _wanted(one, request.only, named)]
    if not found:
        raise UsageError("nothing is asked for", hint=f"--only takes some of {','.join(GROUPS)}")
    return found


def _wanted(artefact: Artefact, groups: Collection[str], named: Collection[str]) -> bool:
    """Of the checkpoints only those that are named, if any are; else all of the groups."""
    if named and artefact.group in CHECKPOINT_GROUPS:
        return artefact.name in named
    return artefact.group in groups


def _checkpoint(lock: Lock, model: str) -> str:
    name = find_model(lock, model).checkpoint
    if name is None:
        raise UsageError(f"{model} has no checkpoint to fetch: its weights are generated")
    return name


def urls_of(artefact: Artefact, mirror: str | None) -> list[str]:
    """Where to fetch from, in order: the mirror alone, or the published address and its mirrors."""
    if mirror is None:
        return [artefact.url, *artefact.mirrors]
    return [mirrored(artefact.url, mirror)]


def mirrored(url: str, mirror: str | None) -> str:
    """The address itself, or its path at the mirror."""
    return url if mirror is None else mirror.rstrip("/") + urlsplit(url).path


def check_mirror(mirror: str | None) -> None:
    """Raise UsageError for what is no address we can read from."""
    if mirror is not None and urlsplit(mirror).scheme not in SCHEMES:
        hint = f"did you mean file://{Path(mirror).absolute()}?"
        raise UsageError(
            f"--mirror must be an http, https or file address, got {mirror}", hint=hint
        )
