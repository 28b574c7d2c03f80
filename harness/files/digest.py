"""Hashes of files."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from harness.core.errors import IntegrityError
from harness.core.progress import Advance

#: Bytes of a file that are in memory at a time.
READ_BYTES = 1 << 20


def file_digest(path: Path, algorithm: str = "sha256", advance: Advance | None = None) -> str:
    """Hash the content of a file, read in pieces of 1 MiB.

    Args:
        path: The file.
        algorithm: A name that ``hashlib`` knows.
        advance: Called with the number of bytes of each piece.

    Returns:
        The hexadecimal digest.

    Raises:
        IntegrityError: It has more bytes than its size says, as files of ``/proc`` have, some of
            them without an end.
    """
    digest, total = hashlib.new(algorithm), 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            total += len(piece)
            _require_size(file.fileno(), total, path)
            digest.update(piece)
            if advance is not None:
                advance(len(piece))
    return digest.hexdigest()


def _require_size(descriptor: int, total: int, path: Path) -> None:
    """Check that a file that is no pipe has as many bytes as were read, now."""
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and total > facts.st_size:
        raise IntegrityError(
            f"{path} has more bytes than its size of {facts.st_size}: it is not stored on a disk",
            hint="name a file with the content itself",
        )
