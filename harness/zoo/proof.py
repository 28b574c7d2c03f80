"""The proofs that files on disk are those of the lock, before anything relies on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import HarnessError, IntegrityError
from harness.core.model import Artefact, FileFacts, InnerArchive, UnpackedFacts
from harness.core.progress import Progress
from harness.files.atomic import write_text
from harness.files.digest import file_digest
from harness.files.fetch import Expected
from harness.files.json import dumps, read, to_plain, to_typed

NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """One artefact that was found to be what the lock names."""

    pinned: str
    """Digest of its entry in the lock."""

    evidence: str
    """Digest of the names, sizes and times of the files it consists of."""

    proof: tuple[str, ...]
    """What was proven, one phrase each."""

    url: str | None
    """Where it was fetched; None when it was there already."""

    recorded_at: str
    """When it was proven, in ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything proven below one root."""

    schema_version: Literal[2] = 2
    """Version 1 was written before files were hashed as they are on the disk: a server could have
    changed them after their proof. Nothing in it counts, so all is proven again."""

    proven: dict[str, Proven] = field(default_factory=dict)
    """By the name of the artefact."""

    checksum: str = ""
    """Sha256 of what is proven, as JSON; empty in a file that an older version wrote."""


def read_manifest(root: Path) -> Manifest:
    """Read the manifest below ``root``; an empty one if it is absent, damaged or older."""
    path = root / NAME
    try:
        found = to_typed(Manifest, read(path), where=str(path))
    except HarnessError:
        return Manifest()
    return Manifest() if found.checksum not in ("", _checksum(found.proven)) else found


def _checksum(proven: Mapping[str, Proven]) -> str:
    return hashlib.sha256(dumps(to_plain(dict(proven))).encode()).hexdigest()


def add_to_manifest(root: Path, name: str, proven: Proven) -> None:
    """Record a proof in the manifest. The caller holds the lock of the root.

    Args:
        root: Folder of the manifest.
        name: Name of the artefact.
        proven: What was proven.
    """
    every = {**read_manifest(root).proven, name: proven}
    updated = Manifest(proven=every, checksum=_checksum(every))
    write_text(root / NAME, dumps(to_plain(updated), indent=2) + "\n")


def known_proof(manifest: Manifest, artefact: Artefact, root: Path) -> tuple[str, ...] | None:
    """The proof of an artefact whose files and lock entry have not changed since, else None.

    Args:
        manifest: Manifest of this root.
        artefact: Its entry in the lock.
        root: Folder of downloads.
    """
    proven = manifest.proven.get(artefact.name)
    if proven is None or proven.pinned != pinned_digest(artefact):
        return None
    return proven.proof if proven.evidence == evidence_digest(artefact, root) else None


def pinned_digest(artefact: Artefact) -> str:
    """A digest that changes with anything in the artefact's lock entry."""
    return hashlib.sha256(dumps(to_plain(artefact)).encode()).hexdigest()


def evidence_digest(artefact: Artefact, root: Path) -> str:
    """A digest that changes when a file of the artefact is added, removed, written or replaced.

    Args:
        artefact: Its entry in the lock.
        root: Folder of downloads.
    """
    digest = hashlib.sha256()
    for name, status in _evidence(artefact, root):
        digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _evidence(artefact: Artefact, root: Path) -> Iterator[tuple[str, os.stat_result]]:
    facts = artefact.unpacked
    named = [artefact.path]
    if facts is not None:
        named = [*facts.files, *([facts.annotations] if facts.annotations else [])]
        folders = [root / facts.folder] if facts.image_count is not None else []
        folders += [one for inner in facts.inner if (one := folder_of(inner, root))]
        for folder in (one for one in folders if one.is_dir()):
            with os.scandir(folder) as entries:
                yield from sorted((entry.name, entry.stat()) for entry in entries)
    yield from ((name, (root / name).stat()) for name in named if (root / name).exists())


SHOWN_FAULTS = 5


def expected_of(artefact: Artefact) -> Expected:
    """The strongest hash a source gives: sha256, md5, a prefix of one in the name, or none."""
    digest = artefact.sha256 or (None if artefact.md5 else artefact.sha256_prefix)
    if digest is not None:
        return Expected(size=artefact.bytes, algorithm="sha256", digest=digest)
    digest = artefact.md5 or artefact.md5_prefix or ""
    return Expected(size=artefact.bytes, algorithm="md5", digest=digest)


def can_be_proven(artefact: Artefact) -> bool:
    """Whether the lock has a hash, or a number of images, to prove any of it with."""
    facts = artefact.unpacked
    inside = facts is not None and (
        facts.image_count is not None or any(one.sha256 for one in facts.files.values())
    )
    return bool(expected_of(artefact).digest) or inside


def prove(artefact: Artefact, path: Path, *, sha256: str | None = None) -> None:
    """Check that a file has every size and hash the lock gives.

    Args:
        artefact: Its entry in the lock.
        path: The file.
        sha256: SHA-256 of the file, when it is known already.

    Raises:
        IntegrityError: It differs; every difference is named.
    """
    faults = mismatches(expected_of(artefact), path, sha256=sha256)
    if faults:
        raise IntegrityError(
            f"{path} is not {artefact.name}:\n  " + "\n  ".join(faults),
            hint=f"run: harness download --only {artefact.group}",
        )


def mismatches(expected: Expected, path: Path, *, sha256: str | None = None) -> list[str]:
    """Compare a file with what it must be, the cheap property first.

    Args:
        expected: What it must be.
        path: The file.
        sha256: SHA-256 of the file, when it is known already.

    Returns:
        What differs, one line each.
    """
    size = path.stat().st_size
    if expected.size not in (None, size):
        return [f"expected {expected.size:,} bytes, found {size:,}: probably cut off"]
    if not expected.digest:
        return []
    known = sha256 if expected.algorithm == "sha256" else None
    found = known or file_digest(path, expected.algorithm)
    if found.startswith(expected.digest):
        return []
    return [f"expected {expected}", f"found    {expected.algorithm} {found}"]


def prove_unpacked(facts: UnpackedFacts, root: Path, *, progress: Progress) -> tuple[str, ...]:
    """Prove the files of an unpacked archive.

    Args:
        facts: Its entry in the lock.
        root: Folder of downloads.
        progress: Progress of the files.

    Returns:
        What was proven, one phrase each.

    Raises:
        IntegrityError: Something is missing or different; the first few faults are named.
    """
    phrases = [_prove_file(root / name, pinned) for name, pinned in facts.files.items()]
    phrases += [_prove_inner(one, root) for one in facts.inner]
    if facts.image_count is not None:
        phrases += _prove_images(facts, root, progress)
    return tuple(phrases)


def _prove_inner(inner: InnerArchive, root: Path) -> str:
    folder = folder_of(inner, root)
    if folder is None:
        place = root / inner.makes[0]
        count = sum(1 for _ in place.iterdir()) if place.is_dir() else 0
        raise IntegrityError(f"{place} has {count:,} files, expected {inner.file_count:,}")
    return f"{folder.name} has its {inner.file_count:,} files; no source gives their hashes"


def folder_of(inner: InnerArchive, root: Path) -> Path | None:
    """The folder that has the files of an inner archive; None where none has them all.

    Args:
        inner: The archive.
        root: Folder of downloads.
    """
    places = (root / one for one in inner.makes)
    return next(
        (
            one
            for one in places
            if one.is_dir() and sum(1 for _ in one.iterdir()) >= inner.file_count
        ),
        None,
    )


def _prove_file(path: Path, facts: FileFacts) -> str:
    if not path.is_file():
        raise IntegrityError(f"{path} is missing")
    faults = mismatches(
        Expected(size=facts.bytes, algorithm="sha256", digest=facts.sha256 or ""), path
    )
    if faults:
        raise IntegrityError(f"{path} is another file:\n  " + "\n  ".join(faults))
    if facts.sha256 is None:
        return f"{path.name} is there; no source gives its hash"
    return f"{path.name} has its sha256"


def _prove_images(facts: UnpackedFacts, root: Path, progress: Progress) -> list[str]:
    folder = root / facts.folder
    annotations = root / facts.annotations if facts.annotations else None
    if annotations is None or not annotations.is_file():
        count = sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
        _require(folder, "files", facts.image_count, count, at_least=True)
        return [f"{count:,} files; not measured, as the annotations are not here"]
    images, annotation_count = _listed(annotations)
    _require(annotations, "images", facts.image_count, len(images))
    if facts.annotation_count is not None:
        _require(annotations, "annotations", facts.annotation_count, annotation_count)
    from harness.data.image_files import image_faults  # Pillow: only where images are looked at

    with progress.task(f"proving {folder.name}", total=len(images), unit="images") as advance:
        found = (one for one in image_faults(folder, images, advance) if one.kind != "wide")
        faults = [one.text for one in islice(found, SHOWN_FAULTS)]
    if faults:
        raise IntegrityError(f"{folder} is not what {annotations} lists:\n  " + "\n  ".join(faults))
    proven = [f"{len(images):,} images of the listed sizes"]
    return [*proven, f"{annotation_count:,} annotations"] if annotation_count else proven


def _listed(annotations: Path) -> tuple[list[dict[str, Any]], int]:
    content = read(annotations)
    try:
        return list(content["images"]), len(content.get("annotations", ()))  # test images: none
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{annotations} is not a COCO annotation file") from error


def _require(
    place: Path, what: str, expected: int | None, found: int, *, at_least: bool = False
) -> None:
    if found != expected and not (at_least and expected is not None and found > expected):
        raise IntegrityError(f"{place} has {found:,} {what}, expected {expected:,}")
