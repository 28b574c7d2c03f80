"""What a download request means: which artefacts, and where they come from."""

from __future__ import annotations

import difflib
from pathlib import Path
from urllib.parse import urlsplit

from harness.core.errors import UsageError
from harness.core.model import GROUPS, Artefact, Lock
from harness.core.requests import DownloadRequest
from harness.files.transport import SCHEMES
from harness.zoo.lock import find_model


def chosen(lock: Lock, request: DownloadRequest) -> list[Artefact]:
    """The artefacts asked for, in the lock's order: annotations come before images they prove."""
    for group in request.only:
        if group not in GROUPS:
            near = difflib.get_close_matches(group, GROUPS, n=1)
            raise UsageError(
                f"unknown group {group!r}" + (f"; did you mean {near[0]}?" if near else ""),
                hint=f"--only takes some of {','.join(GROUPS)}",
            )
    checkpoints = {_checkpoint(lock, name) for name in request.models}
    if checkpoints and "checkpoints" not in request.only:
        raise UsageError("--model chooses among checkpoints, which --only leaves out")
    found = [
        artefact
        for artefact in lock.artefacts
        if artefact.group in request.only
        and (artefact.group != "checkpoints" or not checkpoints or artefact.name in checkpoints)
    ]
    if not found:
        raise UsageError("nothing is asked for", hint=f"--only takes some of {','.join(GROUPS)}")
    return found


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
