"""What a run needs on disk, all of it looked for at once, and the command that fetches it.

Whether a file is the right one is proven when it is read; here only whether it is there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import PrerequisiteError, UsageError
from harness.core.model import Artefact, Lock, ModelEntry
from harness.data.catalog import COCO_LAYOUT, DOWNLOAD_GROUPS, PANOPTIC_LAYOUT, panoptic_places
from harness.zoo.lock import find_artefact


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One thing that is not there."""

    what: str
    """Its name and place."""

    groups: tuple[str, ...] = ()
    """Groups of ``harness download`` that bring it; none where only the user can."""

    model: str | None = None
    """Model entry whose checkpoint it is; None for anything else."""


def missing_dataset(name: str | None, root: Path) -> tuple[Missing, ...]:
    """Return what a known data set lacks; nothing for an embedded or an unknown one.

    Args:
        name: Name of the data set; None for files of the user.
        root: Folder of data sets.
    """
    paths = [root / part for part in COCO_LAYOUT.get(name or "", ())]
    if name in PANOPTIC_LAYOUT:
        paths += panoptic_places(name, root)
    absent = next((path for path in paths if not path.exists()), None)
    if name is None or absent is None:
        return ()
    groups = tuple(DOWNLOAD_GROUPS[name].split(","))
    return (Missing(what=f"data set {name}: no {absent}", groups=groups),)


def missing_files(
    annotations: Path | None, images: Path | None, panoptic: Path | None = None
) -> tuple[Missing, ...]:
    """Return which places of the user are not there; a place that is not given is none."""
    found = []
    if annotations is not None and not annotations.is_file():
        found.append(Missing(what=f"annotation file: no {annotations}"))
    if images is not None and not images.is_dir():
        found.append(Missing(what=f"folder of images: no {images}"))
    if panoptic is not None and not panoptic.is_file():
        found.append(Missing(what=f"panoptic annotation file: no {panoptic}"))
    return tuple(found)


def missing_checkpoint(lock: Lock, entry: ModelEntry, root: Path) -> tuple[Missing, ...]:
    """Return the pinned checkpoint of a model, if it is not there."""
    if entry.checkpoint is None:
        return ()
    return _absent(find_artefact(lock, entry.checkpoint), root, entry.name)


def missing_proposals(lock: Lock, entry: ModelEntry, root: Path) -> tuple[Missing, ...]:
    """Return the region proposals that a model is published with, if they are not there."""
    if entry.proposals is None:
        return ()
    return _absent(find_artefact(lock, entry.proposals), root, entry.name)


def missing_artefact(lock: Lock, name: str, root: Path) -> tuple[Missing, ...]:
    """Return an artefact by its name, such as a backbone's weights, if it is not there."""
    return _absent(find_artefact(lock, name), root, None)


def _absent(artefact: Artefact, root: Path, model: str | None) -> tuple[Missing, ...]:
    path = root / artefact.path
    if path.is_file():
        return ()
    return (Missing(what=f"{artefact.name}: no {path}", groups=(artefact.group,), model=model),)


def fetching(missing: Sequence[Missing], root: Path) -> str | None:
    """Return the one command that fetches everything that can be fetched; None for nothing."""
    groups = dict.fromkeys(group for one in missing for group in one.groups)
    if not groups:
        return None
    models = dict.fromkeys(one.model for one in missing if one.model is not None)
    chosen = f" --model {','.join(models)}" if models else ""
    return f"harness download --only {','.join(groups)}{chosen} --root {shlex.quote(str(root))}"


def require_all(missing: Sequence[Missing], root: Path) -> None:
    """Refuse to begin while two or more things are missing; one alone has an error of its own.

    Raises:
        PrerequisiteError: With everything that is missing, and the command that fetches it.
        UsageError: All of it are files of the user.
    """
    if len(missing) < 2:
        return
    command = fetching(missing, root)
    kind = "downloads" if all(one.groups for one in missing) else "things"
    listed = f"{len(missing)} {kind} are missing:\n" + "\n".join(f"  {one.what}" for one in missing)
    if command is None:
        raise UsageError(listed, hint="check their paths")
    own = "" if kind == "downloads" else "; check the other paths"
    raise PrerequisiteError(listed, hint=f"run: {command}{own}")
