"""Pictures that no annotation file lists: found by name, in an order of their own."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags
from PIL import Image as PillowImage

from harness.core.errors import UsageError
from harness.data.images import UPRIGHT

#: What a folder is searched for; a file that is named is tried whatever it is called.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jfif")


def find_photos(words: Sequence[str], *, outside: Path | None = None) -> list[Path]:
    """Every picture that ``words`` name, once, in the order of the words, then by path.

    A word is a file, a folder (with all below it) or a glob (``**`` for any depth). outside: a
    folder, of earlier results, whose pictures are left out. Raises UsageError for a word that names
    nothing.
    """
    found: dict[Path, None] = {}
    barred = None if outside is None else outside.absolute()
    for word in words:
        some = [Path(os.path.normpath(path.absolute())) for path in _named(word)]
        found |= dict.fromkeys(
            path for path in some if barred is None or barred not in path.parents
        )
    if not found:
        raise UsageError("no picture given", hint=f"known endings: {', '.join(ENDINGS)}")
    return list(found)


def _named(word: str) -> Iterator[Path]:
    path = Path(word).expanduser()
    if path.is_dir():
        found = sorted(_below(path))
        if not found:
            raise UsageError(
                f"no picture in {path} or below it", hint=f"known endings: {', '.join(ENDINGS)}"
            )
        yield from found
    elif path.exists() or path.is_symlink():
        yield path
    else:
        # Not Path.glob: a pattern may be absolute.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        files = [Path(match) for match in matches if Path(match).is_file()]
        if not files:
            raise UsageError(
                f"no such file or folder, and nothing that matches: {word}",
                hint="give pictures, folders of pictures, or a quoted glob such as 'photos/*.jpg'",
            )
        yield from files


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in ENDINGS and path.is_file():
            yield path


def folder_of_all(paths: Sequence[Path]) -> Path:
    """The deepest folder that all files lie in or below."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def digest_of(paths: Sequence[Path]) -> str:
    """sha256 over names, sizes and times of change: what tells that nothing was replaced."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            facts = path.stat()
            line = f"{path} {facts.st_size} {facts.st_mtime_ns}\n"
        except OSError:
            line = f"{path} unreadable\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) in px of the upright picture, from the beginning of its file.

    (1, 1) where that cannot be told: decoding it will say why.
    """
    try:
        size = size_of(path)
    except UnreadableImage:
        return 1, 1
    return size.height_px, size.width_px


#: EXIF orientations that exchange height and width (Exif 2.3, tag 274).
SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of an image in pixels: as it is shown, and the EXIF orientation that makes it so."""

    height_px: int
    width_px: int
    orientation: int

    @property
    def stored_px(self) -> tuple[int, int]:
        """(height, width) as the file holds it, before it is turned upright."""
        if self.orientation in SIDEWAYS:
            return self.width_px, self.height_px
        return self.height_px, self.width_px


class UnreadableImage(Exception):
    """A file that Pillow cannot open."""


def size_of(path: Path) -> Size:
    """The size of an image file; only its header is read. Raises UnreadableImage."""
    try:
        with PillowImage.open(path) as image:
            width, height = image.size
            try:
                orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
            except Exception:  # decoding takes any failure for "no orientation": so must this
                orientation = UPRIGHT
    except Exception as bad:  # Pillow's many decoders raise anything on damaged bytes
        raise UnreadableImage(str(bad)) from bad
    if orientation in SIDEWAYS:
        height, width = width, height
    return Size(height_px=height, width_px=width, orientation=orientation)
