"""Bounds on what decoding an image computes, held against its bytes before a decoder has them.

The size of a file does not bound the work of Pillow and libjpeg: parts of EXIF are joined one by
one, which takes time with the square of their number; each scan of a JPEG goes over all its pixels;
Python steps over bytes that fill its header, a second or so a megabyte; the rest of a block of text
is copied for each comment of a portable anymap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

#: Parts of a JPEG before its pixels; a profile of colours has 255 at most, an image of depth in
#: XMP a hundred or so. Chosen.
MOST_PARTS = 10_000

#: Parts of EXIF, of 64 KiB at most; cameras write one. Chosen.
MOST_EXIF_PARTS = 256

#: Scans of a JPEG; the usual progressive one has 10, the most detailed of encoders 20. Chosen.
MOST_SCANS = 100

#: Bytes between the parts of a JPEG before its pixels, which Pillow steps over one by one; programs
#: that align parts write a few. Chosen.
MOST_FILLING = 1 << 16

#: Comments of a portable anymap in plain text; programs write one. Chosen.
MOST_COMMENTS = 1000

#: Of a JPEG whose pixels are not wanted, what is read at first.
BEGINNING_BYTES = 1 << 16

#: What is looked through of a file at most.
MOST_BYTES = 1 << 29

#: A marker: neither an escaped byte of compressed data, nor one of those that fill.
_MARKER = re.compile(rb"\xff([^\x00\xff])")

#: Markers without a length: as Pillow has it before the pixels, and as libjpeg has it in them.
_BARE_IN_HEADER = frozenset((0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))
_BARE_IN_SCANS = frozenset((0x01, *range(0xD0, 0xD9)))
_END, _SCAN, _EXIF = 0xD9, 0xDA, 0xE1

#: Begin of frames: their pixels are in one scan, or more; and those of a frame without progression.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset((0xC0, 0xC1))
_SCANS = b"\xff\xda"


def require_bounded(source: Path | BytesIO, *, pixels: bool) -> None:
    """Check that an image can be decoded in a time that its size bounds.

    Args:
        source: The file, or its content, which is left at its beginning.
        pixels: Whether its pixels are wanted as well, and not its header alone.

    Raises:
        ValueError: It cannot; the text is the reason.
        OSError: It cannot be read.
    """
    if isinstance(source, BytesIO):
        _require_bounded(source, pixels=pixels)
        source.seek(0)
    elif source.is_file():
        with source.open("rb") as file:
            _require_bounded(file, pixels=pixels)


def _require_bounded(file: IO[bytes], *, pixels: bool) -> None:
    begin = file.read(3)
    if begin == b"\xff\xd8\xff":
        content = b"\xff" + file.read(BEGINNING_BYTES)
        header = _require_bounded_header(content)
        if len(content) > BEGINNING_BYTES and header.may_have_more(pixels=pixels):
            content += file.read(MOST_BYTES)
            header = _require_bounded_header(content)
        scan = header.scan
        # Counting the bytes is quick, and few JPEGs have so many of them, as in a film behind one.
        if (
            scan is not None
            and header.may_have_more(pixels=pixels)
            and content.count(_SCANS) > MOST_SCANS
        ):
            _require_bounded_scans(content, scan)
    elif pixels and begin[:2] in (b"P1", b"P2", b"P3"):
        _require_few_comments(file)


class _Header(NamedTuple):
    """What is before the pixels of a JPEG."""

    scan: int | None
    """Where the first scan begins; None where there is none."""
    is_whole: bool
    """Whether that scan has all pixels, after which libjpeg takes no other: it decodes row by row
    what is not progressive and has all components in its first scan, and a further scan is an
    error."""

    def may_have_more(self, *, pixels: bool) -> bool:
        """Whether what follows the beginning decides how much is computed."""
        return self.scan is None or (pixels and not self.is_whole)


def _require_bounded_header(content: bytes) -> _Header:
    position = parts = exif = filling = 0
    frames: list[tuple[int, int]] = []
    while found := _MARKER.search(content, position):
        filling = _with_filling(filling, found.start() - position)
        marker, position = found[1][0], found.end()
        if marker == _SCAN:
            whole = _is_whole(frames, _byte(content, position + 2))
            return _Header(found.start(), whole)
        if marker in _FRAMES:
            frames.append((marker, _byte(content, position + 7)))
        parts += 1
        if parts > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS:,} parts before its pixels")
        if marker in _BARE_IN_HEADER:
            continue
        if marker == _EXIF and content[position + 2 : position + 8] == b"Exif\0\0":
            exif += 1
            if exif > MOST_EXIF_PARTS:
                raise ValueError(f"its EXIF has more than {MOST_EXIF_PARTS} parts")
        position += _length(content, position)
    _with_filling(filling, len(content) - position)
    return _Header(None, is_whole=False)


def _with_filling(known: int, more: int) -> int:
    """Return how many bytes are between parts.

    Raises:
        ValueError: Too many.
    """
    if known + more > MOST_FILLING:
        raise ValueError(f"it has more than {MOST_FILLING:,} bytes between its parts")
    return known + max(more, 0)


def _is_whole(frames: Sequence[tuple[int, int]], components: int) -> bool:
    """Return whether the first scan has all pixels, as of ``_Header``.

    Args:
        frames: Marker and number of components of each frame before it; a file has one.
        components: Of the scan.
    """
    if len(frames) != 1:
        return False
    marker, of_frame = frames[0]
    return marker in _SEQUENTIAL and 0 < of_frame == components


def _byte(content: bytes, position: int) -> int:
    """The value of a byte; 0 behind the end."""
    return content[position] if position < len(content) else 0


def _require_bounded_scans(content: bytes, position: int) -> None:
    scans = 0
    while found := _MARKER.search(content, position):
        marker, position = found[1][0], found.end()
        if marker == _END:
            return
        if marker in _BARE_IN_SCANS:
            continue
        scans += marker == _SCAN
        if scans > MOST_SCANS:
            raise ValueError(f"it has more than {MOST_SCANS} scans")
        position += _length(content, position)


def _length(content: bytes, position: int) -> int:
    """The length of a part, itself included."""
    return max(int.from_bytes(content[position : position + 2], "big"), 2)


def _require_few_comments(file: IO[bytes]) -> None:
    comments = 0
    while piece := file.read(1 << 20):
        comments += piece.count(b"#")
        if comments > MOST_COMMENTS:
            raise ValueError(f"it has more than {MOST_COMMENTS:,} comments")
