"""Artefacts of the lock: fetched, proven, unpacked, proven again, recorded in the manifest.

A file that is there and can be proven is not fetched again, whoever put it there.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from harness.core.errors import HarnessError, IntegrityError, Interrupted, UsageError
from harness.core.model import GROUPS, Artefact, Lock, UnpackedFacts
from harness.core.progress import Progress
from harness.core.requests.zoo import DownloadRequest
from harness.files.failures import ARRIVED, disk_errors
from harness.files.fetch import FetchOptions, fetch
from harness.files.locks import held
from harness.files.parts import arrived_bytes, remove_orphan
from harness.files.transport import SCHEMES
from harness.files.unpack import unpack
from harness.zoo.lock import find_model
from harness.zoo.proof import (
    Proven,
    add_to_manifest,
    can_be_proven,
    evidence_digest,
    expected_of,
    folder_of,
    known_proof,
    mismatches,
    pinned_digest,
    prove,
    prove_unpacked,
    read_manifest,
)
from harness.zoo.selections import make_selection

#: Groups of checkpoints of model entries: Detectron2's usual four, the others of its zoo (some
#: 12 GB), and torchvision's.
CHECKPOINT_GROUPS = ("checkpoints", "zoo", "torchvision")


def chosen(lock: Lock, request: DownloadRequest) -> list[Artefact]:
    """The requested artefacts, in the lock's order: annotations come before images they prove.

    Args:
        lock: With all artefacts.
        request: Groups, and names of models; with names only their checkpoints of the groups.

    Raises:
        UsageError: A group is unknown, a model has no checkpoint, or nothing is requested.
    """
    for group in request.only:
        if group not in GROUPS:
            near = difflib.get_close_matches(group, GROUPS, n=1)
            raise UsageError(
                f"unknown group {group!r}" + (f"; did you mean {near[0]}?" if near else ""),
                hint=f"--only takes one or more of {','.join(GROUPS)}",
            )
    named = {file for name in request.models for file in _files_of(lock, name)}
    if named and not set(request.only) & set(CHECKPOINT_GROUPS):
        raise UsageError("--model chooses among checkpoints, which --only leaves out")
    found = [one for one in lock.artefacts if _wanted(one, request.only, named)]
    if not found:
        raise UsageError(
            "no file is chosen", hint=f"--only takes one or more of {','.join(GROUPS)}"
        )
    wholes = {one.selection.artefact for one in found if one.selection is not None}
    return [one for one in lock.artefacts if one in found or one.name in wholes]


def _wanted(artefact: Artefact, groups: Collection[str], named: Collection[str]) -> bool:
    """Of the checkpoints only those that are named, if any are; else all of the groups."""
    if named and artefact.group in CHECKPOINT_GROUPS:
        return artefact.name in named
    return artefact.group in groups


def _files_of(lock: Lock, model: str) -> list[str]:
    """Its checkpoint, and the artefact with the region proposals it is given."""
    entry = find_model(lock, model)
    if entry.checkpoint is None:
        raise UsageError(f"{model} has no checkpoint to fetch: its weights are generated")
    return [name for name in (entry.checkpoint, entry.proposals) if name is not None]


def urls_of(artefact: Artefact, mirror: str | None) -> list[str]:
    """The addresses to fetch from, in order; none of what is selected from another artefact.

    Args:
        artefact: Its entry in the lock.
        mirror: Address of a mirror, which is then the only one; None for the published address and
            the mirrors in the lock.
    """
    if artefact.url is None:
        return []
    if mirror is None:
        return [artefact.url, *artefact.mirrors]
    return [mirrored(artefact.url, mirror)]


def mirrored(url: str, mirror: str | None) -> str:
    """The address itself, or its path at the mirror.

    Args:
        url: The published address.
        mirror: Address of a mirror; None for none.
    """
    return url if mirror is None else mirror.rstrip("/") + urlsplit(url).path


def check_mirror(mirror: str | None) -> None:
    """Check that a mirror is an address that can be read from.

    Raises:
        UsageError: It is neither http, https nor file.
    """
    if mirror is not None and urlsplit(mirror).scheme not in SCHEMES:
        hint = f"did you mean file://{Path(mirror).absolute()}?"
        raise UsageError(
            f"--mirror must be an http, https or file address, got {mirror}", hint=hint
        )


LOCK = ".download.lock"

#: JSON text unpacks to at most this many times its archive, JPEG to its size. Chosen; it only
#: decides whether there is room before the first byte is fetched.
TEXT_GROWTH = 4

Action = Literal[
    "known", "proven", "fetched", "selected", "would-prove", "would-fetch", "would-select"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done about one artefact."""

    name: str
    """Of the artefact."""

    path: str
    """Below the root."""

    bytes: int | None
    """Of the file to fetch; None when unknown."""

    action: Action
    """``known`` from the manifest, ``proven`` now from what was there, ``fetched``, or ``selected``
    from another artefact; in a dry run ``would-prove``, ``would-fetch`` or ``would-select``.
    """

    url: str | None = None
    """Where it was fetched; None when it was there already."""

    proof: tuple[str, ...] = ()
    """What was proven, one phrase each."""

    can_be_proven: bool = True
    """False where no source gives a hash to prove it with: that it is there is all that is known.
    """


def download(
    lock: Lock, request: DownloadRequest, *, options: FetchOptions, now: Callable[[], datetime]
) -> list[Outcome]:
    """Fetch and prove everything that is requested, below its root.

    Several processes may do this at once: one works, the others wait and find it done. What has
    arrived is kept, however the call ends.

    Args:
        lock: With the artefacts.
        request: What to fetch, and to where.
        options: Options of the connection.
        now: Clock for the manifest.

    Returns:
        One outcome an artefact, in the lock's order.

    Raises:
        UsageError: Arguments are invalid, or a folder cannot be written.
        IntegrityError: A file is not as pinned.
        RunFailedError: A server does not answer, or the disk is full.
    """
    artefacts = chosen(lock, request)
    check_mirror(request.mirror)
    known = _known(artefacts, request.root)
    if request.dry_run:
        return [known.get(one.name) or _planned(one, request) for one in artefacts]
    if len(known) == len(artefacts):
        return [known[one.name] for one in artefacts]
    try:
        with disk_errors(request.root, kept=ARRIVED):
            request.root.mkdir(parents=True, exist_ok=True)
            with held(request.root / LOCK, notice=options.progress.notice):
                _require_space(artefacts, request, options.free_bytes)
                return [
                    _bring(artefact, request, options, now, keep=keep)
                    for artefact, keep in zip(
                        artefacts, _kept(artefacts, known, request), strict=True
                    )
                ]
    except KeyboardInterrupt:
        hint = "what has arrived is kept: the same command continues"
        raise Interrupted("interrupted", hint=hint) from None


def _kept(
    artefacts: Sequence[Artefact], known: Collection[str], request: DownloadRequest
) -> Iterator[bool]:
    """Yield whether the archive of each artefact stays: as asked, or for a later one."""
    for place, artefact in enumerate(artefacts, start=1):
        later = [one.path for one in artefacts[place:] if one.name not in known]
        yield request.keep_archives or artefact.path in later


def _known(artefacts: Sequence[Artefact], root: Path) -> dict[str, Outcome]:
    manifest = read_manifest(root)
    proven = {one.name: known_proof(manifest, one, root) for one in artefacts}
    return {
        one.name: _outcome(one, root, "known", proof=proof)
        for one in artefacts
        if (proof := proven[one.name]) is not None
    }


def _planned(artefact: Artefact, request: DownloadRequest) -> Outcome:
    if _seems_there(artefact, request.root):
        return _outcome(artefact, request.root, "would-prove")
    if artefact.selection is not None:
        return _outcome(artefact, request.root, "would-select")
    return _outcome(artefact, request.root, "would-fetch", url=urls_of(artefact, request.mirror)[0])


def _bring(
    artefact: Artefact,
    request: DownloadRequest,
    options: FetchOptions,
    now: Callable[[], datetime],
    *,
    keep: bool,
) -> Outcome:
    """One artefact proven on disk and in the manifest, with as little work as that takes."""
    root = request.root
    known = _known([artefact], root)  # another process may have brought it while this one waited
    if known:
        return known[artefact.name]
    remove_orphan(root / artefact.path)
    proof = _prove_if_there(artefact, root, options.progress)
    outcome = _outcome(artefact, root, "proven", proof=proof or ())
    if proof is None and artefact.selection is not None:
        made = make_selection(artefact, artefact.selection, root)
        outcome = _outcome(artefact, root, "selected", proof=made)
    elif proof is None:
        outcome = _fetch_and_prove(artefact, request, options, keep=keep)
    proven = Proven(
        pinned=pinned_digest(artefact),
        evidence=evidence_digest(artefact, root),
        proof=outcome.proof,
        url=outcome.url,
        recorded_at=now().isoformat(timespec="seconds"),
    )
    add_to_manifest(root, artefact.name, proven)
    return outcome


def _prove_if_there(artefact: Artefact, root: Path, progress: Progress) -> tuple[str, ...] | None:
    """The proof of what is there; None, and a line with the reason, when it must be fetched."""
    if not _seems_there(artefact, root):
        return None
    try:
        if artefact.unpacked is not None:
            return prove_unpacked(artefact.unpacked, root, progress=progress)
        prove(artefact, root / artefact.path)
        return (_spoken(artefact) or "was there before; no source gives a hash to prove it",)
    except HarnessError as error:
        progress.notice(f"{error.message}\nfetching it again")
        return None


def _fetch_and_prove(
    artefact: Artefact, request: DownloadRequest, options: FetchOptions, *, keep: bool
) -> Outcome:
    file, expected = request.root / artefact.path, expected_of(artefact)
    urls = urls_of(artefact, request.mirror)
    url = None
    if artefact.unpacked is None or not file.is_file() or mismatches(expected, file):
        url = fetch(urls, file, expected, options).url
    if artefact.kind == "file" or artefact.kind == "selection" or artefact.unpacked is None:
        spoken = _spoken(artefact) or "complete as served; no source gives a hash"
        return _outcome(artefact, request.root, "fetched", url=url, proof=(spoken,))
    try:
        only = _wanted_files(artefact, artefact.unpacked)
        unpack(file, file.parent, kind=artefact.kind, progress=options.progress, only=only)
        _unpack_inner(artefact.unpacked, request, options.progress)
        proof = prove_unpacked(artefact.unpacked, request.root, progress=options.progress)
    except IntegrityError as error:
        file.unlink()  # or it would be unpacked again and again
        raise IntegrityError(
            error.message, hint=f"{file.name} was removed; another server may have it: --mirror URL"
        ) from error
    if not keep:
        file.unlink()
    return _outcome(artefact, request.root, "fetched", url=url, proof=proof)


def _wanted_files(artefact: Artefact, facts: UnpackedFacts) -> list[str] | None:
    """Return what is unpacked of an archive that also has other data; None for all of it."""
    if not facts.inner:
        return None
    above = PurePosixPath(artefact.path).parent
    paths = (*facts.files, *(one.path for one in facts.inner))
    return [str(PurePosixPath(one).relative_to(above)) for one in paths]


def _unpack_inner(facts: UnpackedFacts, request: DownloadRequest, progress: Progress) -> None:
    """Unpack the archives that were in an archive."""
    for inner in facts.inner:
        archive = request.root / inner.path
        if not archive.is_file():
            raise IntegrityError(f"the archive has no {inner.path}")
        unpack(archive, request.root / inner.folder, kind="zip", progress=progress)
        if not request.keep_archives:
            archive.unlink()


def _seems_there(artefact: Artefact, root: Path) -> bool:
    """Whether a proof is worth trying: cheap, and wrong in both directions at times."""
    facts = artefact.unpacked
    if facts is None:
        return (root / artefact.path).is_file()
    if facts.image_count is None:
        inner = all(folder_of(one, root) is not None for one in facts.inner)
        return inner and all((root / name).is_file() for name in facts.files)
    folder = root / facts.folder
    return folder.is_dir() and sum(1 for _ in folder.iterdir()) >= facts.image_count


def _require_space(
    artefacts: Sequence[Artefact], request: DownloadRequest, free_bytes: Callable[[Path], int]
) -> None:
    """Raise before the first byte when the disk cannot hold what will be on it at once."""
    root = request.root
    missing = [one for one in artefacts if not _seems_there(one, root)]
    unpacked = sum(_unpacked_bytes(one) for one in missing)
    arriving = [max((one.bytes or 0) - arrived_bytes(root / one.path), 0) for one in missing]
    files = [size for one, size in zip(missing, arriving, strict=True) if one.unpacked is None]
    archives = [size for one, size in zip(missing, arriving, strict=True) if one.unpacked]
    at_once = sum(archives) if request.keep_archives else max(archives, default=0)
    needed, free = unpacked + sum(files) + at_once, free_bytes(root)
    if needed > free:
        raise OSError(errno.ENOSPC, f"it needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def _unpacked_bytes(artefact: Artefact) -> int:
    if artefact.unpacked is None or artefact.bytes is None:
        return 0
    return artefact.bytes * (TEXT_GROWTH if artefact.unpacked.image_count is None else 1)


def _spoken(artefact: Artefact) -> str:
    """Name the proof of the file; empty where no source gives a hash."""
    expected = expected_of(artefact)
    if expected.digest and expected.digest in (artefact.sha256, artefact.md5):
        return f"has its {expected.algorithm}"
    if expected.digest:
        return f"has the prefix of its {expected.algorithm}"
    return ""


def _outcome(
    artefact: Artefact,
    root: Path,
    action: Action,
    *,
    url: str | None = None,
    proof: tuple[str, ...] = (),
) -> Outcome:
    size, path = artefact.bytes, root / artefact.path
    if size is None and path.is_file():
        size = path.stat().st_size
    return Outcome(
        name=artefact.name,
        path=artefact.path,
        bytes=size,
        action=action,
        url=url,
        proof=proof,
        can_be_proven=can_be_proven(artefact),
    )
