"""Which file of weights a model uses, and the proof that it is the right one."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.core.errors import IntegrityError, PrerequisiteError
from harness.core.model import Artefact, Lock, ModelEntry
from harness.core.record import CheckpointFacts
from harness.files.digest import file_digest
from harness.zoo.lock import find_artefact
from harness.zoo.proof import expected_of, mismatches, prove
from harness.zoo.weights import files_of, require_known_ending

#: Of each file of some weights: size in bytes, time of modification in nanoseconds.
WeightsState = tuple[tuple[int, int], ...]

#: Of a file that is not there.
NO_FILE = (0, 0)

#: Weights that come with the package.
EMBEDDED = Path(__file__).parent / "embedded"


def find_checkpoint(
    lock: Lock, entry: ModelEntry, weights: Path | None, root: Path
) -> CheckpointFacts:
    """The file of weights to use, proven.

    Args:
        lock: With the artefact of the pinned checkpoint.
        entry: The model.
        weights: A file of the user; None for the pinned one.
        root: Folder of downloads.

    Returns:
        Its path, size and hash; the file is read once.

    Raises:
        PrerequisiteError: The pinned file is not there; with the download command.
        UsageError: ``weights`` has a name that no checkpoint has.
        IntegrityError: The pinned file has another content.
    """
    if weights is not None:
        require_known_ending(weights)
        return facts_of(lock, entry, weights)
    if entry.checkpoint is None:
        return _embedded_file(entry)
    return pinned_file(find_artefact(lock, entry.checkpoint), root, model=entry.name)


def pinned_file(artefact: Artefact, root: Path, *, model: str | None = None) -> CheckpointFacts:
    """The file of an artefact, proven.

    Args:
        artefact: Its entry in the lock.
        root: Folder of downloads.
        model: Whose checkpoint it is, so that the hint is the command that fetches it alone.

    Raises:
        PrerequisiteError: The file is not there; with the download command.
        IntegrityError: It has another content.
    """
    path = root / artefact.path
    if not path.is_file():
        chosen = "" if model is None else f" --model {model}"
        raise PrerequisiteError(
            f"{artefact.name} is not there: no {path}",
            hint=f"run: harness download --only {artefact.group}{chosen} "
            f"--root {shlex.quote(str(root))}, or give a file of your own",
        )
    expected = expected_of(artefact)
    sha256 = weights_digest(path) if expected.size in (None, path.stat().st_size) else None
    prove(artefact, path, sha256=sha256)
    return replace(facts_of_file(path, sha256=sha256), pinned=True)


def facts_of_file(path: Path, *, sha256: str | None = None) -> CheckpointFacts:
    """Size and hash of weights that are not in the lock.

    Args:
        path: The file.
        sha256: Its hash where it is known already; else the file is read.
    """
    return CheckpointFacts(
        path=str(path),
        sha256=sha256 or weights_digest(path),
        bytes=_size_bytes(path),
        pinned=False,
    )


def facts_of(lock: Lock, entry: ModelEntry, path: Path) -> CheckpointFacts:
    """Size and hash of the weights, and whether they are the pinned ones.

    Args:
        lock: With the artefact of the pinned checkpoint.
        entry: The model.
        path: The file of weights.
    """
    sha256 = weights_digest(path)
    if entry.checkpoint is None:
        pinned = entry.embedded is not None and sha256 == entry.embedded.sha256
    else:
        artefact = find_artefact(lock, entry.checkpoint)
        pinned = not mismatches(expected_of(artefact), path, sha256=sha256)
    return replace(facts_of_file(path, sha256=sha256), pinned=pinned)


def weights_digest(path: Path) -> str:
    """The sha256 of a file of weights; of several files together, of the list of theirs.

    Raises:
        IntegrityError: An index is damaged, or names a file that is not there; a file was written
            to while it was read.
    """
    with unchanging(path):
        return _digest_of_all(path)


def weights_state(path: Path) -> WeightsState:
    """What changes when a file of weights, or one of several that an index names, is written to.

    Args:
        path: The file or the index.

    Returns:
        For each file its size in bytes and time of modification in nanoseconds; `NO_FILE` for one
        that is not there. No inode, which network file systems may change.
    """
    return tuple(_file_state(one) for one in files_of(path))


def require_state(path: Path, expected: WeightsState) -> None:
    """Check that weights that were hashed and then loaded are still the same file.

    A network is made of what the file has when it is loaded, and a record names the hash that was
    taken before: another program may have written to it in between, as a training does.

    Args:
        path: As in ``weights_state``.
        expected: What that returned before.

    Raises:
        IntegrityError: It was written to or replaced.
    """
    found = weights_state(path)
    if found != expected:
        raise written_since(path, expected, found)


def written_since(path: Path, expected: WeightsState, found: WeightsState) -> IntegrityError:
    """The error of weights that were written to or replaced after they were hashed.

    Args:
        path: As in ``weights_state``.
        expected: Their state then.
        found: Their state now.
    """
    return IntegrityError(
        f"{path} was written to or replaced since it was hashed, so that its hash need not be "
        f"that of what was loaded\n  expected {_shown(expected)}\n  found    {_shown(found)}",
        hint="wait until what writes it has ended, or make a copy and name that one",
    )


def _shown(state: WeightsState) -> str:
    files = [f"{size:,} bytes of time {time_ns} ns" for size, time_ns in state]
    return ", ".join(files) if any(map(any, state)) else "no file"


@contextmanager
def unchanging(path: Path) -> Iterator[None]:
    """Check that weights are still the same file when the block ends well.

    Args:
        path: As in ``weights_state``.

    Raises:
        IntegrityError: They were written to or replaced.
    """
    before = weights_state(path)
    yield
    require_state(path, before)


def _file_state(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return NO_FILE
    return facts.st_size, facts.st_mtime_ns


def _digest_of_all(path: Path) -> str:
    files = files_of(path)
    if len(files) == 1:
        return file_digest(path)
    for one in files:
        if not one.is_file():
            raise IntegrityError(
                f"{path} names {one.name}, and there is no such file beside it",
                hint="use a complete copy of all files",
            )
    lines = "".join(f"{file_digest(one)}  {one.name}\n" for one in files)
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()


def _size_bytes(path: Path) -> int:
    return sum(one.stat().st_size for one in files_of(path))


def _embedded_file(entry: ModelEntry) -> CheckpointFacts:
    path = EMBEDDED / f"{entry.name}.safetensors"
    if entry.embedded is None:
        raise PrerequisiteError(
            f"no weights of {entry.name} are published",
            hint=f"give a checkpoint with --weights, or train one: harness train --model "
            f"{entry.name}",
        )
    found = weights_digest(path) if path.is_file() else "no file"
    if found != entry.embedded.sha256:
        raise IntegrityError(
            f"{path} is not the embedded checkpoint of {entry.name}:\n"
            f"  expected sha256 {entry.embedded.sha256}\n  found    {found}",
            hint="install harness again",
        )
    return replace(facts_of_file(path, sha256=found), pinned=True)
