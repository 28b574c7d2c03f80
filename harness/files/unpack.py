"""Archives unpacked without trusting them: nothing outside the folder, no links, no bombs.

Each file appears under its name only when it is whole and read back equal to what the archive
holds. One that is there already with that content is not written again, so unpacking that was
interrupted continues where it stopped.
"""

from __future__ import annotations

import errno
import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from harness.core.errors import HarnessError, IntegrityError
from harness.core.progress import Advance, Progress
from harness.files.atomic import remove_leftovers, temporary_path
from harness.files.digest import READ_BYTES

#: An archive may become this many times its size: JPEG stays, JSON grows to about four times; what
#: is made to fill a disk grows to a thousand times. Chosen.
LARGEST_GROWTH = 100

#: A tar's headers are read whole into memory; a real one has some kilobytes. Chosen.
LARGEST_READ_BYTES = 16 << 20

#: Longest name of one file or folder on Linux and macOS is 255 bytes, and a file has a longer one
#: with host and process while it is written; of a whole path 4,096 and 1,024.
LONGEST_NAME_BYTES = 150
LONGEST_PATH_BYTES = 900


def unpack(
    archive: Path,
    folder: Path,
    *,
    kind: Literal["zip", "tgz"],
    progress: Progress,
    only: Collection[str] | None = None,
) -> int:
    """Unpack files of an archive below a folder.

    Args:
        archive: The archive.
        folder: Where its files go.
        kind: What the archive is.
        progress: Receives the bytes written.
        only: Names in the archive; None for all files. What is left out is checked as well.

    Returns:
        How many files of the archive are below the folder.

    Raises:
        IntegrityError: Before or instead of writing the member concerned: one that is not a plain
            file, would be outside the folder or has no usable name; an archive that is cut off,
            damaged or grows beyond LARGEST_GROWTH.
        OSError: The disk is full, or nothing may be written there.
    """
    for inner, _, _ in os.walk(folder):
        remove_leftovers(Path(inner))
    unpack_kind = _unpack_zip if kind == "zip" else _unpack_tgz
    names = None if only is None else frozenset(map(PurePosixPath, only))
    return unpack_kind(archive, folder, progress, names)


#: Names in an archive; None for all.
_Names = frozenset[PurePosixPath] | None


def _is_wanted(name: str, only: _Names) -> bool:
    return only is None or PurePosixPath(name) in only


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Whatever the block fails with says that the archive is damaged.

    The libraries raise many kinds of errors for what an attacker may write: of the formats, of
    the compressions (bz2 raises an OSError without a number), of text, of numbers, and of the
    system for positions that no file has.

    Raises:
        IntegrityError: The archive cannot be read.
        OSError: The disk failed.
    """
    try:
        yield
    except HarnessError:
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):
            raise
        raise _damaged(archive, error) from error
    except Exception as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> IntegrityError:
    reason = str(error) or type(error).__name__
    return IntegrityError(f"{archive} is not a whole archive: {reason}")


def _unpack_zip(archive: Path, folder: Path, progress: Progress, only: _Names) -> int:
    with reading(archive), closing(zipfile.ZipFile(archive)) as source:
        for member in source.infolist():
            _require_usable(archive, member.filename, is_folder=member.filename.endswith("/"))
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) or (kind == stat.S_IFDIR and member.is_dir())
            _require_safe(archive, member.filename, plain=plain)
        files = [member for member in source.infolist() if not member.is_dir()]
        _require_distinct(archive, [member.filename for member in files])
        _require_growth(archive, sum(member.file_size for member in files))
        files = [member for member in files if _is_wanted(member.filename, only)]
        total = sum(member.file_size for member in files)
        with progress.task(f"unpacking {archive.name}", total=total, unit="bytes") as advance:
            for member in files:
                target = folder / member.filename
                if _crc(target, member.file_size) == member.CRC:
                    advance(member.file_size)
                else:
                    with source.open(member) as content:
                        _write(archive, content, target, member.file_size, advance)
    return len(files)


def _unpack_tgz(archive: Path, folder: Path, progress: Progress, only: _Names) -> int:
    """Read the archive to its end first, as only there is its checksum; then unpack it."""
    with (
        reading(archive),
        gzip.open(archive) as raw,
        closing(_Bounded(archive, raw)) as stream,
        tarfile.open(fileobj=stream) as source,  # type: ignore[call-overload]
    ):
        total = 0
        for member in source:
            _require_safe(archive, member.name, plain=member.isreg() or member.isdir())
            _require_usable(archive, member.name, is_folder=member.isdir())
            total += member.size
            _require_growth(archive, total)
        while stream.read(READ_BYTES):
            pass
        files = [member for member in source.getmembers() if member.isreg()]
        _require_distinct(archive, [member.name for member in files])
        files = [member for member in files if _is_wanted(member.name, only)]
        total = sum(member.size for member in files)
        with progress.task(f"unpacking {archive.name}", total=total, unit="bytes") as advance:
            for member in files:
                target = folder / member.name
                if _holds(target, member.size, _content(source, member)):
                    advance(member.size)
                else:
                    _write(archive, _content(source, member), target, member.size, advance)
    return len(files)


def _content(source: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = source.extractfile(member)
    assert content is not None, "only plain files are in the list"
    return content


class _Bounded:
    """An unpacked stream that ends in an error beyond LARGEST_GROWTH, and for a huge header.

    The library reads headers of any length into memory, and skips content of any length.
    """

    def __init__(self, archive: Path, stream: gzip.GzipFile) -> None:
        self._archive = archive
        self._stream = stream

    def read(self, count: int = -1) -> bytes:
        """Read up to ``count`` bytes."""
        if not 0 <= count <= LARGEST_READ_BYTES:
            raise IntegrityError(
                f"{self._archive} has a header of {count:,} bytes, allowed are "
                f"{LARGEST_READ_BYTES:,}: refused"
            )
        content = self._stream.read(count)
        _require_growth(self._archive, self._stream.tell())
        return content

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a position; forward by reading, as a compressed stream has to."""
        if whence == 0:
            _require_growth(self._archive, position)
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        """The position in the unpacked stream."""
        return self._stream.tell()

    def close(self) -> None:
        """Leave the stream to its owner."""


def _require_safe(archive: Path, name: str, *, plain: bool) -> None:
    path = PurePosixPath(name)
    if not plain:
        raise IntegrityError(f"{archive} holds {name!r}, which is a link or a device: refused")
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise IntegrityError(f"{archive} holds {name!r}, which would be outside its folder")


def _require_usable(archive: Path, name: str, *, is_folder: bool) -> None:
    """Raise IntegrityError for a name that no file can have; an empty one is the folder itself."""
    try:
        lengths = [len(part.encode()) for part in PurePosixPath(name).parts]
    except UnicodeEncodeError:  # bytes that are not text in any way
        lengths = [LONGEST_PATH_BYTES]
    short = max(lengths, default=0) <= LONGEST_NAME_BYTES
    short = short and sum(lengths) + len(lengths) <= LONGEST_PATH_BYTES
    if not short or not (lengths or is_folder):
        raise IntegrityError(f"{archive} holds {name[:80]!r}, which is not a usable name: refused")


def _require_distinct(archive: Path, names: Iterable[str]) -> None:
    """Raise IntegrityError for files that would take each other's place."""
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for path in map(PurePosixPath, names):
        if path in files:
            raise IntegrityError(f"{archive} holds {str(path)!r} twice: refused")
        files.add(path)
        folders.update(path.parents)
    for path in sorted(files & folders):
        raise IntegrityError(f"{archive} holds {str(path)!r} as a file and a folder: refused")


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


def _holds(path: Path, size: int, content: IO[bytes]) -> bool:
    """Whether the file has exactly this content."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        while piece := content.read(READ_BYTES):
            if file.read(len(piece)) != piece:
                return False
    return True


def _write(archive: Path, content: IO[bytes], target: Path, size: int, advance: Advance) -> None:
    """Write a file and read it back before it takes its name."""
    checksum, written = 0, 0
    with _aside(target) as temporary:
        with temporary.open("wb") as file:
            while piece := content.read(READ_BYTES):
                file.write(piece)
                checksum = zlib.crc32(piece, checksum)
                written += len(piece)
                advance(len(piece))
        if written != size or _crc(temporary, size) != checksum:
            raise IntegrityError(
                f"{archive}: {target.name} is not on the disk as the archive holds it:\n"
                f"  expected {size:,} bytes, found {temporary.stat().st_size:,}",
                hint="check the disk, then give the same command again",
            )


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Like ``files.atomic.replacing`` without the fsync, which a hundred thousand files forbid."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
