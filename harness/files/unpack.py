"""Archives unpacked without trusting them: nothing outside the folder, no links, no bombs.

Each file appears under its name only when it is whole, and one that is there already is not
written again: unpacking that was cut off goes on where it stopped.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from harness.core.errors import IntegrityError
from harness.core.progress import Advance, Progress

#: An archive may become this many times its size: JPEG stays, JSON grows to about four times; what
#: is made to fill a disk grows to a thousand times. Chosen.
LARGEST_GROWTH = 100
READ_BYTES = 1 << 20

#: What reading a damaged or encrypted archive ends in.
CORRUPT = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


def unpack(archive: Path, folder: Path, *, kind: Literal["zip", "tgz"], progress: Progress) -> int:
    """How many files of ``archive`` are now below ``folder``.

    Raises IntegrityError, before or instead of writing the member in question, for a member that
    is no plain file or would lie outside ``folder``, for an archive that is cut off or corrupt, and
    for one that grows beyond all measure; OSError when the disk is full.
    """
    try:
        unpack_kind = _unpack_zip if kind == "zip" else _unpack_tgz
        return unpack_kind(archive, folder, progress)
    except CORRUPT as error:
        raise IntegrityError(f"{archive} is no whole archive: {error}") from error


def _unpack_zip(archive: Path, folder: Path, progress: Progress) -> int:
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) or (kind == stat.S_IFDIR and member.is_dir())
            _require_safe(archive, member.filename, plain=plain)
        files = [member for member in source.infolist() if not member.is_dir()]
        total = sum(member.file_size for member in files)
        _require_growth(archive, total)
        with progress.task(f"unpacking {archive.name}", total=total, unit="bytes") as advance:
            for member in files:
                target = folder / member.filename
                if _crc(target, member.file_size) == member.CRC:
                    advance(member.file_size)
                else:
                    with source.open(member) as content:
                        _write(content, target, advance)
    return len(files)


def _unpack_tgz(archive: Path, folder: Path, progress: Progress) -> int:
    """The archive is read to its end first, as only there is its checksum; then unpacked.

    A file that is there in the right size is kept: there is no checksum of a single file.
    """
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream) as source:
        total = 0
        for member in source:
            _require_safe(archive, member.name, plain=member.isreg() or member.isdir())
            total += member.size
            _require_growth(archive, total)
        while stream.read(READ_BYTES):
            pass
        files = [member for member in source.getmembers() if member.isreg()]
        with progress.task(f"unpacking {archive.name}", total=total, unit="bytes") as advance:
            for member in files:
                target, content = folder / member.name, source.extractfile(member)
                assert content is not None, "only plain files are in the list"
                if target.is_file() and target.stat().st_size == member.size:
                    advance(member.size)
                else:
                    _write(content, target, advance)
    return len(files)


def _require_safe(archive: Path, name: str, *, plain: bool) -> None:
    path = PurePosixPath(name)
    if not plain:
        raise IntegrityError(f"{archive} holds {name!r}, which is a link or a device: refused")
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise IntegrityError(f"{archive} holds {name!r}, which would lie outside its folder")


def _require_growth(archive: Path, total: int) -> None:
    size = archive.stat().st_size
    if total > size * LARGEST_GROWTH:
        raise IntegrityError(
            f"{archive} ({size:,} bytes) would become {total:,} bytes or more, over "
            f"{LARGEST_GROWTH} times its size: refused"
        )


def _crc(path: Path, size: int) -> int | None:
    """The checksum zip archives use, None when the file is absent or of another size."""
    if not path.is_file() or path.stat().st_size != size:
        return None
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def _write(content: IO[bytes], target: Path, advance: Advance) -> None:
    with _aside(target) as temporary, temporary.open("wb") as file:
        while piece := content.read(READ_BYTES):
            file.write(piece)
            advance(len(piece))


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Like ``files.atomic.replacing`` without the fsync, which a hundred thousand files forbid."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.unpacking")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
