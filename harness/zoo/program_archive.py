"""An archive of torch.export (``.pt2``), read without torch and without running what is in it.

``torch.export.load`` unpickles, evaluates expressions and looks up functions by the names that a
file gives, so it is for files one trusts. This module accepts only what ``harness export`` writes:
a zip of plain records, in which the graph is JSON and tensors are their bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.errors import IntegrityError

ENDING = ".pt2"

GRAPH = "models/model.json"
WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
TABLES = (WEIGHTS + "model_weights_config.json", CONSTANTS + "model_constants_config.json")

#: The record that harness adds: what the file is.
FACTS = "extra/harness.json"

#: Records of an archive of harness, below its folder. Not among them: compiled code, pickled
#: objects, and the examples of inputs, which torch keeps as a pickle and harness leaves empty.
KNOWN = re.compile(
    rf"{GRAPH}|{FACTS}|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    rf"|{TABLES[0]}|{TABLES[1]}|{WEIGHTS}weight_\d+|{CONSTANTS}tensor_\d+"
)
EXAMPLES = "data/sample_inputs/model.pt"

#: Bytes of a record of text at most: the largest graph has 5 MB.
LARGEST_TEXT_BYTES = 200_000_000

#: What Python's zipfile raises of damaged headers.
DAMAGE = (
    *(zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError),
    *(ValueError, OverflowError, struct.error),  # of names, offsets and fields
)

EXPORT_AGAIN = "run: harness export --model NAME --output FILE.pt2"


class TensorPlace(NamedTuple):
    """Where the bytes of a tensor are, and how they are read."""

    record: str
    """Name of the record."""

    dtype: int
    """Number of its type in torch's format (``torch._export.serde.schema.ScalarType``)."""

    sizes: tuple[int, ...]
    """Of the tensor."""

    strides: tuple[int, ...]
    """In elements."""

    offset: int
    """Of the first element."""


class Archive:
    """The records of an open archive.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self._records = _known_records(path, file)

    @property
    def names(self) -> frozenset[str]:
        """Names of the records, below the archive's folder."""
        return frozenset(self._records)

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """Return the bytes of a record.

        Raises:
            IntegrityError: It is not there, longer than ``most``, or damaged.
        """
        record = self._records.get(name)
        if record is None:
            raise _refusal(self.path, f"it has no record {name}")
        if most is not None and record.file_size > most:
            raise _refusal(
                self.path, f"{name} has {record.file_size:,} bytes, at most are {most:,}"
            )
        return self._file.read(record)

    def text(self, name: str) -> Any:
        """Return a record of JSON.

        Raises:
            IntegrityError: It is none.
        """
        try:
            return json.loads(self.read(name, most=LARGEST_TEXT_BYTES))
        except (ValueError, RecursionError):
            raise _refusal(self.path, f"{name} is not JSON") from None

    def digest(self) -> tuple[int, str]:
        """Return number of bytes and sha256 of everything but the facts of harness."""
        digest, count = hashlib.sha256(), 0
        for name in sorted(self._records):
            if name != FACTS:
                content = self.read(name)
                digest.update(f"{name}\n{len(content)}\n".encode())
                digest.update(content)
                count += len(content)
        return count, digest.hexdigest()

    def tensors(self) -> Iterator[tuple[str, TensorPlace]]:
        """Return the name and place of each weight and constant.

        Raises:
            IntegrityError: One is pickled, or described as no tensor is.
        """
        for table, folder in zip(TABLES, (WEIGHTS, CONSTANTS), strict=True):
            for name, row in as_dict(self.path, self.text(table), "config").items():
                try:
                    yield name, _place(row, folder)
                except (KeyError, TypeError, ValueError, OverflowError) as error:
                    raise _refusal(self.path, f"tensor {name!r} is not plain ({error})") from None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive for reading.

    Raises:
        IntegrityError: It is damaged, or has contents that harness does not write.
    """
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(path, file)
    except DAMAGE as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _refusal(path, f"it is cut off or damaged ({error})") from None


def as_dict(path: Path, value: Any, key: str) -> dict[str, Any]:
    """Return the object under a key of an object.

    Raises:
        IntegrityError: There is none.
    """
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise _refusal(path, f"{key!r} is not in it")
    return found


def _known_records(path: Path, file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the records by their name below the archive's folder."""
    records: dict[str, zipfile.ZipInfo] = {}
    for record in file.infolist():
        _, _, name = record.filename.partition("/")
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            raise _refusal(path, f"record {name!r} is compressed or encrypted")
        if name in records:
            raise _refusal(path, f"record {name!r} is there twice")
        if not KNOWN.fullmatch(name) and (name != EXAMPLES or record.file_size):
            raise _refusal(path, f"record {name!r} may hold code, and is not opened")
        records[name] = record
    return records


def _place(row: Any, folder: str) -> TensorPlace:
    if row["use_pickle"]:
        raise ValueError("it is pickled")
    numbers = row["tensor_meta"]
    return TensorPlace(
        record=folder + str(row["path_name"]),
        dtype=int(numbers["dtype"]),
        sizes=tuple(int(size["as_int"]) for size in numbers["sizes"]),
        strides=tuple(int(stride["as_int"]) for stride in numbers["strides"]),
        offset=int(numbers["storage_offset"]["as_int"]),
    )


def _refusal(path: Path, fault: str) -> IntegrityError:
    return IntegrityError(f"{path} is not a .pt2 file of harness: {fault}", hint=EXPORT_AGAIN)
