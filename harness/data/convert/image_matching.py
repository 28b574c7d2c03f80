"""A folder of photographs, and which of them an annotation means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from harness.data.image_files import SUFFIXES

#: Label Studio puts eight hexadecimal digits of a UUID before the name of an uploaded file.
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


class Photographs:
    """The image files below one folder, found by what an annotation calls them.

    names: paths relative to the folder, with forward slashes, sorted. extract: whether images that
    are only inside their annotations may be written there.
    """

    def __init__(self, folder: Path, *, extract: bool = False) -> None:
        self.folder = folder
        self.extract = extract
        self.names = sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        self._exact = set(self.names)
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            self._by_last[PurePosixPath(name).name.casefold()].append(name)

    def matches(self, told: Iterable[str], beside: Path) -> list[str]:
        """The names that the first helpful one of ``told`` may mean: none, one, or several.

        beside: the folder they are relative to, where that is known. A path that is right as it
        stands counts first, then the longest ending that any file shares.
        """
        for name in told:
            plain = name.replace("\\", "/")
            direct = self._relative(beside / plain) or self._relative(self.folder / plain)
            if direct is not None:
                return [direct]
            found = self._longest_ending(PurePosixPath(plain).parts)
            if found:
                return found
        return []

    def with_stem(self, stem: str) -> list[str]:
        """The names whose last part without its ending is ``stem``."""
        return [name for name in self.names if PurePosixPath(name).stem == stem]

    def _relative(self, path: Path) -> str | None:
        try:
            name = path.resolve().relative_to(self.folder.resolve()).as_posix()
        except (ValueError, OSError):
            return None
        return name if name in self._exact else None

    def _longest_ending(self, parts: tuple[str, ...]) -> list[str]:
        if not parts:
            return []
        found = self._by_last.get(parts[-1].casefold(), [])
        shared = [_shared_ending(parts, PurePosixPath(name).parts) for name in found]
        return [name for name, count in zip(found, shared, strict=True) if count == max(shared)]


def _shared_ending(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count


def names_in_address(address: str) -> tuple[str, ...]:
    """What the image at an address of Label Studio's may be called on disk, the likeliest first.

    Addresses are /data/upload/3/1a2b3c4d-cat.jpg, /data/local-files/?d=pets/cat.jpg, s3://…,
    https://…?signature, or plain paths of either system; the file on disk often is just cat.jpg.
    """
    plain = address.replace("\\", "/")
    parts = urlsplit(plain)
    path = parse_qs(parts.query).get("d", [parts.path])[0]
    names = [unquote(path).lstrip("/"), path.lstrip("/")]
    last = PurePosixPath(names[0]).name
    names += [last, UPLOAD_PREFIX.sub("", last)]
    return tuple(dict.fromkeys(name for name in names if name))
