"""Image files: the formats that are opened, their size as shown, and how they are found.

Every command that opens an image opens it here, so that one list decides: Pillow's other decoders
start programs (EPS starts Ghostscript), read whole documents, or are stubs of other libraries.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as PillowImage

from harness.core.errors import UsageError
from harness.core.printable import shown_text
from harness.data.image_bounds import require_bounded
from harness.data.own_results import in_own_result, is_own_result
from harness.files.environment import usable_cpus
from harness.files.readable import not_a_file

#: Pillow's names of what is opened, the likeliest first. JPEG is also what some cameras write with
#: further images behind it (MPO).
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM"),
    *("QOI", "SGI", "SUN", "PCX", "TGA"),
)

#: What folders are searched for; a file that is named is tried whatever it is called.
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs"),
        *(".bmp", ".dib", ".gif", ".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".sgi", ".ras", ".pcx", ".tga"),
    )
)

#: EXIF orientation of an image that is stored as it is shown.
UPRIGHT = 1

#: What undoes each other EXIF orientation (Exif 2.3, tag 274).
TURNS = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}

#: Those of them that exchange height and width.
SIDEWAYS = (5, 6, 7, 8)

#: What files that are not images begin with, and what they are.
BEGINNINGS = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "XML"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with git lfs pull"),
    (b"%!ps", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%pdf", "a PDF document"),
    (b"8bps", "a Photoshop document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"{", "JSON"),
)

#: Brands of ISO media files that hold images which Pillow cannot read.
HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis", b"hevc")


class UnreadableImage(Exception):
    """A file that cannot be opened as an image. The text is the reason, as the end of a sentence.

    Args:
        reason: The text.
        is_missing: Whether there is no such file.
    """

    def __init__(self, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.is_missing = is_missing


def open_image(source: Path | BytesIO, *, pixels: bool = True) -> PillowImage.Image:
    """The opened image, its pixels not decoded yet; close it.

    Args:
        source: The file, or its content.
        pixels: Whether they are going to be decoded, and not the header alone.

    Raises:
        PIL.UnidentifiedImageError: It is none of FORMATS.
        OSError: It cannot be read.
        ValueError: What it takes to decode it is not bounded by its size.
        Exception: Any error of Pillow's decoders on damaged bytes.
    """
    reason = not_a_file(source) if isinstance(source, Path) else None
    if reason is not None:
        raise OSError(errno.EINVAL, reason)
    require_bounded(source, pixels=pixels)
    return PillowImage.open(source, formats=_known_formats())


@cache
def _known_formats() -> tuple[str, ...]:
    """FORMATS without those that the installed Pillow has not."""
    PillowImage.init()
    return tuple(name for name in FORMATS if name in PillowImage.OPEN)


def orientation_of(image: PillowImage.Image) -> int:
    """The EXIF orientation, 1 … 8; 1 where there is none, or none that can be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # the reference takes any failure for "no orientation", and so must we
        return UPRIGHT
    return found if isinstance(found, int) and found in TURNS else UPRIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of an image in pixels."""

    height_px: int
    """Height as the image is shown."""

    width_px: int
    """Width as the image is shown."""

    orientation: int
    """The EXIF orientation that makes it so, 1 … 8."""

    is_wide: bool = False
    """Whether it is grey with more than 8 bits a pixel."""

    @property
    def stored_px(self) -> tuple[int, int]:
        """(height, width) as the file holds it, before it is turned upright."""
        if self.orientation in SIDEWAYS:
            return self.width_px, self.height_px
        return self.height_px, self.width_px


def size_of(path: Path, *, decode: bool = False) -> Size:
    """The size of an image file; only its header is read.

    Args:
        path: The file.
        decode: Decode its pixels as well, to see whether they are damaged.

    Raises:
        UnreadableImage: It is missing, damaged, or none of FORMATS.
    """
    try:
        with open_image(path, pixels=decode) as image:
            size = upright_size(image)
            if decode:
                image.load()
            return size
    except Exception as bad:  # Pillow's many decoders raise anything on damaged bytes
        raise unreadable(path, bad) from bad


def upright_size(image: PillowImage.Image) -> Size:
    """The size of an opened image."""
    orientation = orientation_of(image)
    width, height = image.size
    if orientation in SIDEWAYS:
        height, width = width, height
    wide = is_wide(image)
    return Size(height_px=height, width_px=width, orientation=orientation, is_wide=wide)


def is_wide(image: PillowImage.Image) -> bool:
    """Whether an opened image is grey with more than 8 bits a pixel."""
    return image.mode.startswith(("I", "F"))


def unreadable(path: Path, bad: Exception) -> UnreadableImage:
    """The error, in words, for an exception of opening a file.

    Args:
        path: The file.
        bad: What Pillow or the system raised.
    """
    match bad:
        case FileNotFoundError():
            return UnreadableImage("is missing", is_missing=True)
        case UnidentifiedImageError():
            return UnreadableImage(f"is not an image: {_looks_like(path)}")
        case PillowImage.DecompressionBombError():
            return UnreadableImage(f"is too large to be decoded: {bad}")
        case PermissionError(strerror=str() as reason):
            return UnreadableImage(f"cannot be read: {reason}")
        case OSError(strerror=str() as reason):
            return UnreadableImage(f"cannot be decoded: {reason}")
        case ValueError() if "\0" in str(path):
            reason = "cannot be decoded: no file has a name with a NUL in it"
            return UnreadableImage(reason, is_missing=True)
    return UnreadableImage(f"cannot be decoded: {bad}")


def _looks_like(path: Path) -> str:
    """What a file that is none of FORMATS begins with, in words."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        return str(error.strerror)
    if not head:
        return "it is empty"
    if not head.strip(b"\0"):
        return "it holds nothing but zeros"
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return "it is HEIC, which is not read; save it as JPEG or PNG"
    folded = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for beginning, what in BEGINNINGS:
        if folded.startswith(beginning):
            return f"it is {what}"
    return f"it begins with {head[:12]!r}; formats: {' '.join(_known_formats())}"


#: Threads that decode images to see whether they are damaged; each may hold a large one.
MOST_DECODERS = 16

#: Characters of a file name that a fault shows.
SHOWN_NAME = 200

FaultKind = Literal["missing", "unreadable", "size", "turned", "path", "wide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFault:
    """A fault of the file of one listed image."""

    kind: FaultKind
    """turned: its listed size is the one before its EXIF turns it upright. path: it is there under
    the same path with the slashes of this system. wide: it is as listed, but has more than 8 bits,
    of which an evaluation sees all above 255 as white."""

    text: str
    """The fault as a sentence that begins with the listed name."""


def image_faults(
    folder: Path,
    images: Sequence[Mapping[str, Any]],
    advance: Callable[[int], None],
    *,
    decode: bool = False,
) -> Iterator[ImageFault]:
    """A fault for each listed image whose file is not as listed.

    Args:
        folder: What file names are relative to.
        images: Rows with ``file_name``, ``height`` and ``width``.
        advance: Called with 1 for each row.
        decode: Decode the pixels of each, in threads, and do not read headers alone.
    """
    paths = [str(image["file_name"]) for image in images]
    found = _sizes([folder / path for path in paths], decode=decode)
    for image, path, size in zip(images, paths, found, strict=True):
        advance(1)
        name = shown_text(path, SHOWN_NAME)
        if isinstance(size, UnreadableImage):
            yield _unreadable_fault(folder, path, name, size)
            continue
        listed = (image["height"], image["width"])
        if listed == (size.height_px, size.width_px):
            if size.is_wide:
                yield ImageFault(kind="wide", text=f"{name} has more than 8 bits a pixel")
            continue
        text = (
            f"{name} is {size.width_px} × {size.height_px} px, listed {listed[1]} × {listed[0]} px"
        )
        if listed == size.stored_px:
            turned = f"{text}: its EXIF turns it (orientation {size.orientation})"
            yield ImageFault(kind="turned", text=turned)
        else:
            yield ImageFault(kind="size", text=text)


def _sizes(paths: Sequence[Path], *, decode: bool) -> Iterator[Size | UnreadableImage]:
    """Yield the size of each file, or why it has none, in order."""

    def size(path: Path) -> Size | UnreadableImage:
        try:
            return size_of(path, decode=decode)
        except UnreadableImage as bad:
            return bad

    if not decode:
        yield from map(size, paths)
        return
    pool = ThreadPoolExecutor(min(usable_cpus(), MOST_DECODERS), thread_name_prefix="decoder")
    try:
        yield from pool.map(size, paths)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _unreadable_fault(folder: Path, path: str, name: str, bad: UnreadableImage) -> ImageFault:
    other = path.replace("\\", "/")
    if bad.is_missing and other != path and is_file(folder / other):
        return ImageFault(
            kind="path", text=f"{name} {bad}; there is {shown_text(other, SHOWN_NAME)}"
        )
    kind: FaultKind = "missing" if bad.is_missing else "unreadable"
    return ImageFault(kind=kind, text=f"{name} {bad}")


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long; with a NUL
        return False


def find_images(
    words: Sequence[str],
    *,
    outside: Path | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Every image that ``words`` name, once, in the order of the words, then by path.

    Drawings of earlier runs are no images, unless their folder is named.

    Args:
        words: Each a file, a folder (with all below it) or a glob (``**`` for any depth).
        outside: A folder, of earlier results, whose images are left out.
        notice: Called with a sentence for each other folder of results.

    Raises:
        UsageError: A word names nothing.
    """
    found: dict[Path, None] = {}
    barred = None if outside is None else outside.absolute()
    results: dict[Path, None] = {}
    for word in words:
        some = [Path(os.path.normpath(path.absolute())) for path in _named(word, results)]
        found |= dict.fromkeys(
            path for path in some if barred is None or barred not in path.parents
        )
    if not found:
        raise UsageError("no image given", hint=known_endings())
    for folder in results:
        if folder.absolute() != barred:
            notice(f"left out: {folder}, which has results of harness")
    return list(found)


def known_endings() -> str:
    """The endings that folders are searched for, as a hint."""
    return f"known endings: {', '.join(sorted(SUFFIXES))}"


def _named(word: str, results: dict[Path, None]) -> Iterator[Path]:
    """Return the images of a word; folders of results that were met are added to ``results``."""
    if not word:
        raise UsageError("the name of an image is empty", hint="this folder is called: .")
    path = Path(word).expanduser()
    if path.is_dir():
        found = sorted(_below(path, results))
        if not found:
            raise UsageError(
                f"no image in {path} or below it", hint=_drawings_only(results) or known_endings()
            )
        yield from found
    elif path.exists() or path.is_symlink():
        yield path
    else:
        files = sorted(one for one in _matches(path, results) if one.is_file())
        if not files:
            raise UsageError(
                f"no such file or folder, and nothing that matches: {word}",
                hint=_drawings_only(results)
                or "give images, folders of images, or a quoted glob such as 'images/*.jpg'",
            )
        yield from files


def _drawings_only(results: dict[Path, None]) -> str | None:
    """Return a hint where only drawings were found; None where there are none either."""
    if not results:
        return None
    folder = next(iter(results))
    return f"drawings of earlier runs do not count; name their folder if they are meant: {folder}"


def _matches(pattern: Path, results: dict[Path, None]) -> Iterator[Path]:
    """Return what a pattern matches, without hidden names that it does not ask for.

    Not ``glob.glob``: its ``**`` enters folders behind links, as of a link to a folder above it.
    """
    parts = pattern.parts
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base, rest = Path(*parts[:fixed]), parts[fixed:]
    if not rest:
        return
    hidden = any(part.startswith(".") for part in rest)
    known: dict[Path, bool] = {}
    try:
        for found in base.glob(str(Path(*rest))):
            below = found.relative_to(base).parts
            if not hidden and any(part.startswith(".") for part in below):
                continue
            if not in_own_result(found, base, known):
                yield found
    except (ValueError, NotImplementedError):  # no pattern, as of two stars beside a letter
        return
    results |= dict.fromkeys(folder for folder in known if is_own_result(folder))


def _below(folder: Path, results: dict[Path, None]) -> Iterator[Path]:
    """Return the images below a folder, without hidden ones and those in folders behind links.

    Raises:
        UsageError: A folder may not be read: its images would silently be left out.
    """

    def refuse(error: OSError) -> None:
        raise UsageError(
            f"cannot read {error.filename}: {error.strerror}",
            hint="let this user read the folder, or name the images that are to be used",
        ) from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        own = {name for name in folders if is_own_result(Path(place, name))}
        results |= dict.fromkeys(Path(place, name) for name in sorted(own))
        folders[:] = [name for name in folders if name not in own]
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def folder_of_all(paths: Sequence[Path]) -> Path:
    """The deepest folder that all files are in or below."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def digest_of(paths: Sequence[Path]) -> str:
    """sha256 over names, sizes and times of change: it changes when a file is replaced.

    Args:
        paths: The files, in any order.
    """
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
    """(height, width) in px of the upright image, from the beginning of its file.

    (1, 1) where it is not known: decoding it will report the reason.

    Args:
        path: The file.
    """
    try:
        size = size_of(path)
    except UnreadableImage:
        return 1, 1
    return size.height_px, size.width_px
