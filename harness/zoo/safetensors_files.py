"""Files of safetensors, read in place; nothing is allocated before it was measured.

Format: eight bytes with the length of the header, the header (JSON: type, shape and position of
each tensor), the numbers. Tensors are views of the file as it is on the disk until they are copied.
The metadata of a file that is written here have a checksum, which is compared when it is read, and
may have what a training says of its weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError
from harness.core.printable import shown, shown_text
from harness.files.safetensors_header import (
    LARGEST_HEADER_BYTES,
    METADATA,
    STATEMENT,
    stated_in,
)
from harness.zoo.pickles import require_shape

Values = np.ndarray[Any, np.dtype[Any]]

#: Name of the checksum in the metadata: of the header without them, of what a training says of the
#: weights, and of the numbers.
CHECKSUM = "harness_sha256"

#: The numbers begin at a multiple of so many bytes; spaces fill the header.
ALIGNED_BYTES = 8

#: NumPy's code for the numbers of each type; "bf16" is the first half of an f4.
CODES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": "bf16",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U64": "u8",
    "U32": "u4",
    "U16": "u2",
    "U8": "u1",
    "BOOL": "b1",
}


def read_safetensors(path: Path) -> dict[str, Values]:
    """The tensors of a file by key, in the order of their numbers.

    Returns:
        Views of the file, read-only; bf16 as float32.

    Raises:
        IntegrityError: The file is cut off, not valid or not as it was written; with the reason.
    """
    with path.open("rb") as file:
        # The arrays are views of the map, which lives as long as they do.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    header, numbers, metadata = _parts(data)
    expected = metadata.get(CHECKSUM)
    found = None if expected is None else _checksum(header, numbers, stated_in(metadata))
    if found != expected:
        raise IntegrityError(
            f"it was damaged since it was written: expected sha256 {shown(expected)} of its "
            f"content, found {found}",
            hint="restore it from a copy, or make it again; if another program meant to change it, "
            f"have it leave {CHECKSUM} out of the metadata",
        )
    tensors: dict[str, Values] = {}
    end = 0
    for key, row in sorted(header.items(), key=_begin):
        begin, following = row["data_offsets"]
        if begin != end or following < begin or following > len(numbers):
            raise IntegrityError(f"the place of {shown_text(key)} is not behind the one before it")
        tensors[key] = _tensor(key, row, numbers[begin:following])
        end = following
    if end != len(numbers):
        raise IntegrityError(f"its header is of {end} bytes of numbers; there are {len(numbers)}")
    return tensors


def safetensors_bytes(tensors: Mapping[str, Values], statement: str | None = None) -> bytes:
    """The content of a file with its checksum.

    Args:
        tensors: By name; in native byte order, row by row.
        statement: What a training says of them; None for nothing.
    """
    from safetensors.numpy import save

    header, numbers, _ = _parts(memoryview(save(dict(tensors))))
    metadata = {CHECKSUM: _checksum(header, numbers, statement)}
    if statement is not None:
        metadata[STATEMENT] = statement
    # Not by safetensors, which writes several metadata in an order of chance.
    table = {METADATA: metadata, **header}
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text.ljust(-(-len(text) // ALIGNED_BYTES) * ALIGNED_BYTES)
    return b"".join((struct.pack("<Q", len(padded)), padded, numbers))


def _checksum(header: Mapping[str, Any], numbers: memoryview, statement: str | None) -> str:
    """The sha256 of a header without its metadata, in any order, of a statement, and of numbers."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    if statement is not None:
        digest.update(statement.encode(errors="surrogatepass"))
    digest.update(numbers)
    return digest.hexdigest()


def _parts(data: memoryview) -> tuple[dict[str, dict[str, Any]], memoryview, dict[str, Any]]:
    """The rows of the header by key, the numbers behind it, and the metadata."""
    if len(data) < 8:
        raise IntegrityError("it is cut off")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, LARGEST_HEADER_BYTES):
        raise IntegrityError("it is cut off or damaged: its header is longer than the file")
    header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=_table)
    if not isinstance(header, dict):
        raise IntegrityError("it is damaged: its header is not a table")
    metadata = header.pop(METADATA, None)
    for key, row in header.items():
        match row:
            case {"dtype": str(), "shape": list(), "data_offsets": [int(), int()]}:
                continue
            case _:
                raise IntegrityError(
                    f"it is damaged: its header says of {shown_text(key)} {shown(row)}"
                )
    return header, data[8 + length :], metadata if isinstance(metadata, dict) else {}


def _table(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise IntegrityError("it is damaged: its header has a key twice")
    return table


def _begin(item: tuple[str, dict[str, Any]]) -> tuple[int, int]:
    begin, end = item[1]["data_offsets"]
    return begin, end


def _tensor(key: str, row: dict[str, Any], data: memoryview) -> Values:
    code = CODES.get(row["dtype"])
    if code is None:
        raise IntegrityError(
            f"{shown_text(key)} is of {shown_text(row['dtype'])} numbers, which are not read",
            hint=f"those that are read: {', '.join(CODES)}",
        )
    shape = tuple(row["shape"])
    require_shape(shape)
    half = code == "bf16"
    stored = np.dtype("<u2" if half else code).newbyteorder("<")
    if math.prod(shape) * stored.itemsize != len(data):
        raise IntegrityError(
            f"{shown_text(key)} of the shape {shown(shape)} has {len(data)} bytes of numbers"
        )
    values = np.frombuffer(data, stored).reshape(shape)
    if not half:
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)
