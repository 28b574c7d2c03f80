"""Images whose decoding their size does not bound are refused before a decoder has them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from harness.core.errors import IntegrityError
from harness.data.image_bounds import (
    MOST_COMMENTS,
    MOST_EXIF_PARTS,
    MOST_FILLING,
    MOST_PARTS,
    MOST_SCANS,
)
from harness.data.image_files import UnreadableImage, size_of
from harness.data.images import read_pixels


def part(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*, progressive: bool = False) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((48, 32)).save(file, "JPEG", progressive=progressive)
    return file.getvalue()


def with_parts(*parts: bytes) -> bytes:
    return jpeg()[:2] + b"".join(parts) + jpeg()[2:]


def with_scans(count: int) -> bytes:
    whole = jpeg(progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + whole[-2:]


def of_single_components(count: int) -> bytes:
    """As ``with_scans``, of one component of three each, not progressive."""
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, "JPEG")
    whole = file.getvalue()
    scan = part(0xDA, bytes((1, 1, 0, 0, 63, 0))) + bytes(8)
    return whole[: whole.rindex(b"\xff\xda")] + scan * count + whole[-2:]


def with_another_frame(content: bytes) -> bytes:
    """With the frame of a JPEG of one scan before its own."""
    return content[:2] + part(0xC0, b"\x08\0\x20\0\x30\1\1\x11\0") + content[2:]


EXIF = part(0xE1, b"Exif\0\0" + bytes(10))
PLAIN = b"P2\n3 2\n255\n%b1 2 3 4 5 6\n"

HEADERS = {
    "exif in parts": with_parts(*[EXIF] * (MOST_EXIF_PARTS + 1)),
    "exif after an end": with_parts(b"\xff\xd9", *[EXIF] * (MOST_EXIF_PARTS + 1)),
    "exif after a reserved marker": with_parts(b"\xff\xc8", *[EXIF] * (MOST_EXIF_PARTS + 1)),
    "exif after a comment of markers": with_parts(
        part(0xFE, b"\xff\xda\xff\xd9"), *[EXIF] * (MOST_EXIF_PARTS + 1)
    ),
    "exif far behind": with_parts(
        *[part(0xFE, bytes(65_000))] * 3, *[EXIF] * (MOST_EXIF_PARTS + 1)
    ),
    "bytes that fill": with_parts(b"\xff" * (MOST_FILLING + 2)),
    "bytes that fill, in turn": with_parts(*[b"\xff" * 60 + part(0xFE, b"")] * 1200),
    "nul bytes far behind": with_parts(part(0xFE, bytes(65_000)), bytes(MOST_FILLING + 2)),
    "comments": with_parts(part(0xFE, b"") * (MOST_PARTS + 1)),
}
PIXELS = {
    "scans": with_scans(MOST_SCANS + 1),
    "scans of single components": of_single_components(MOST_SCANS + 1),
    "scans behind two frames": with_another_frame(with_scans(MOST_SCANS + 1)),
    "scans behind a table with an end": with_scans(1)[:-2]
    + part(0xFE, b"\xff\xd9")
    + with_scans(MOST_SCANS + 1)[len(with_scans(0)) - 2 :],
    "comments of text": PLAIN % (b"#\n" * (MOST_COMMENTS + 1)),
}
USUAL = {
    "a JPEG": jpeg(),
    "a progressive JPEG": jpeg(progressive=True),
    "a JPEG with some bytes that fill": with_parts(b"\xff" * 5000),
    "exif in some parts": with_parts(*[EXIF] * 9),
    "a profile in 255 parts": with_parts(
        *[part(0xE2, b"ICC_PROFILE\0" + bytes([one, 255, 0])) for one in range(1, 256)]
    ),
    "a film behind a JPEG": jpeg() + b"\xff\xda\0\2" * (MOST_SCANS + 1),
    "a comment of text": PLAIN % b"# by hand\n",
}


@pytest.mark.parametrize("name", [*HEADERS, *PIXELS])
def test_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes((HEADERS | PIXELS)[name])
    with pytest.raises(IntegrityError, match=r"cannot be decoded: it(s EXIF)? has more than"):
        read_pixels(path, where=str(path))
    if name in HEADERS:
        with pytest.raises(UnreadableImage, match="more than"):
            size_of(path)


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_usual_ones_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(USUAL[name])
    size = size_of(path)
    assert read_pixels(path, where=str(path)).shape == (size.height_px, size.width_px, 3)
