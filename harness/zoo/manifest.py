"""``datasets/manifest.json``: what was proven, so that it is not proven again until it changes.

It is a cache. Losing it costs the time of another proof, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError
from harness.core.model import Artefact
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed

NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """One artefact that was found to be what the lock says.

    pinned: digest of its entry in the lock. evidence: digest of the names, sizes and times of the
    files it consists of. proof: what was proven, one phrase each. url: where it was fetched, None
    when it was there already.
    """

    pinned: str
    evidence: str
    proof: tuple[str, ...]
    url: str | None
    recorded_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything proven below one root, by the name of the artefact."""

    schema_version: Literal[1] = 1
    proven: dict[str, Proven] = field(default_factory=dict)


def read_manifest(root: Path) -> Manifest:
    """What the manifest below ``root`` says; nothing when it is absent or not readable."""
    path = root / NAME
    try:
        return to_typed(Manifest, read(path), where=str(path))
    except HarnessError:
        return Manifest()


def add_to_manifest(root: Path, name: str, proven: Proven) -> None:
    """Record ``proven``. Whoever calls holds the lock of ``root``."""
    manifest = read_manifest(root)
    updated = Manifest(proven={**manifest.proven, name: proven})
    write_text(root / NAME, dumps(to_plain(updated), indent=2) + "\n")


def known_proof(manifest: Manifest, artefact: Artefact, root: Path) -> tuple[str, ...] | None:
    """The proof of an artefact whose files and lock entry have not changed since, else None."""
    proven = manifest.proven.get(artefact.name)
    if proven is None or proven.pinned != pinned_digest(artefact):
        return None
    return proven.proof if proven.evidence == evidence_digest(artefact, root) else None


def pinned_digest(artefact: Artefact) -> str:
    """Changes with anything the lock says about the artefact."""
    return hashlib.sha256(dumps(to_plain(artefact)).encode()).hexdigest()


def evidence_digest(artefact: Artefact, root: Path) -> str:
    """Changes when a file of the artefact is added, removed, written or replaced."""
    digest = hashlib.sha256()
    for name, status in _evidence(artefact, root):
        digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _evidence(artefact: Artefact, root: Path) -> Iterator[tuple[str, os.stat_result]]:
    facts = artefact.unpacked
    named = [artefact.path]
    if facts is not None:
        named = [*facts.files, *([facts.annotations] if facts.annotations else [])]
        folder = root / facts.folder
        if facts.image_count is not None and folder.is_dir():
            with os.scandir(folder) as entries:
                yield from sorted((entry.name, entry.stat()) for entry in entries)
    yield from ((name, (root / name).stat()) for name in named if (root / name).exists())
