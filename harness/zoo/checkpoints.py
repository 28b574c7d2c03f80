"""Which file of weights a model uses, and the proof that it is the right one."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import IntegrityError, PrerequisiteError
from harness.core.model import Artefact, Lock, ModelEntry
from harness.core.record import CheckpointFacts
from harness.files.digest import file_digest
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_artefact
from harness.zoo.seeded import DEFAULT_SEED, seeded_checkpoint
from harness.zoo.weights import write_checkpoint


def find_checkpoint(lock: Lock, entry: ModelEntry, weights: Path | None, root: Path) -> Path:
    """The file of weights to use: ``weights``, or the pinned one below ``root``, proven.

    A model without a checkpoint in the lock gets its seeded one, written on first use. Raises
    PrerequisiteError with the download command when the pinned file is not there.
    """
    if weights is not None:
        return weights
    if entry.checkpoint is None:
        return _seeded_file(entry, root)
    artefact = find_artefact(lock, entry.checkpoint)
    path = root / artefact.path
    if not path.is_file():
        raise PrerequisiteError(
            f"the checkpoint of {entry.name} is not there: no {path}",
            hint=f"run: harness download --only checkpoints --root {root}, or give --weights",
        )
    prove(artefact, path)
    return path


def facts_of(lock: Lock, entry: ModelEntry, path: Path) -> CheckpointFacts:
    """Size and hash of the weights, and whether they are the ones the lock means."""
    sha256 = file_digest(path)
    if entry.checkpoint is None:
        pinned = path.name == _seeded_name(entry)
    else:
        artefact = find_artefact(lock, entry.checkpoint)
        pinned = not mismatches(artefact, path, sha256=sha256)
    return CheckpointFacts(path=str(path), sha256=sha256, bytes=path.stat().st_size, pinned=pinned)


def prove(artefact: Artefact, path: Path) -> None:
    """Raise IntegrityError unless ``path`` has every size and hash the lock gives."""
    faults = mismatches(artefact, path)
    if faults:
        raise IntegrityError(
            f"{path} is not {artefact.name}:\n  " + "\n  ".join(faults),
            hint=f"delete it and run: harness download --only {artefact.group}",
        )


def mismatches(artefact: Artefact, path: Path, *, sha256: str | None = None) -> list[str]:
    """What differs from the lock, one line each; cheap properties first.

    sha256: of the file, when it is known already. An artefact of which the lock knows no hash is
    proven by the md5 prefix in the zoo's file names.
    """
    size = path.stat().st_size
    if artefact.bytes is not None and size != artefact.bytes:
        return [f"expected {artefact.bytes:,} bytes, found {size:,}: probably cut off"]
    if artefact.sha256 is not None:
        found = sha256 or file_digest(path)
        return [] if found == artefact.sha256 else _unequal("sha256", artefact.sha256, found)
    if artefact.md5 is not None:
        found = file_digest(path, "md5")
        return [] if found == artefact.md5 else _unequal("md5", artefact.md5, found)
    if artefact.md5_prefix is not None:
        found = file_digest(path, "md5")
        if not found.startswith(artefact.md5_prefix):
            return _unequal("md5 beginning with", artefact.md5_prefix, found)
    return []


def _unequal(kind: str, expected: str, found: str) -> list[str]:
    return [f"expected {kind} {expected}", f"found    {kind} {found}"]


def _seeded_name(entry: ModelEntry) -> str:
    return f"{entry.name}-{DEFAULT_SEED}.safetensors"


def _seeded_file(entry: ModelEntry, root: Path) -> Path:
    path = root / "checkpoints" / "seeded" / _seeded_name(entry)
    if not path.is_file():
        write_checkpoint(path, seeded_checkpoint(architecture_of(entry.architecture)))
    return path
