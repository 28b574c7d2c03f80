"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.core.progress import Advance

READ_BYTES = 1 << 20


def file_digest(path: Path, algorithm: str = "sha256", advance: Advance | None = None) -> str:
    """Hash the content of a file, read in pieces of 1 MiB.

    Args:
        path: The file.
        algorithm: A name that ``hashlib`` knows.
        advance: Called with the number of bytes of each piece.

    Returns:
        The hexadecimal digest.
    """
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            if advance is not None:
                advance(len(piece))
    return digest.hexdigest()
