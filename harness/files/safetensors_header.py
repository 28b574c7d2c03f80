"""The header of a safetensors file: eight bytes with its length, then a table of JSON."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

#: As safetensors itself limits it.
LARGEST_HEADER_BYTES = 100_000_000

#: Under which key of the header a file keeps words of its own.
METADATA = "__metadata__"

#: Name in the metadata of what a training says of the weights that it left.
STATEMENT = "harness_training"


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file is one by its beginning: a length, then a table of JSON.

    Args:
        head: First bytes of the file.
    """
    return len(head) > 9 and head[8:9] == b"{" and head[6:8] == b"\0\0"


def statement_text(path: Path) -> str | None:
    """What a training says of the weights in a file, as it was written; the numbers are not read.

    Whether the file was damaged since is seen when its weights are read: their checksum is of this
    text, too.

    Returns:
        None for a file of another kind, one without a header that can be read, and one that no
        training wrote.
    """
    try:
        with path.open("rb") as file:
            head = file.read(10)
            if not looks_like_safetensors(head):
                return None
            (length,) = struct.unpack("<Q", head[:8])
            if length > LARGEST_HEADER_BYTES:
                return None
            file.seek(8)
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return None
    return stated_in(header.get(METADATA)) if isinstance(header, dict) else None


def stated_in(metadata: Any) -> str | None:
    """The same of metadata that were read; None where they have none."""
    found = metadata.get(STATEMENT) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None
