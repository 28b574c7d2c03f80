"""Pictures as strangers send them: the pixels an evaluation would see, and what is said."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from harness.data.images import read_pixels
from harness.serve.failures import Refusal
from harness.serve.images import Upload, decode, encode, read_header
from tests.serve.conftest import picture_bytes


def uploaded(picture: PillowImage.Image, format: str, **options: Any) -> Upload:
    written = BytesIO()
    picture.save(written, format, **options)
    return Upload(name="it", content=written.getvalue())


@pytest.fixture
def photo() -> PillowImage.Image:
    random = np.random.default_rng(3)
    return PillowImage.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("L", "JPEG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
        ("P", "GIF"),
        ("CMYK", "TIFF"),
    ],
)
def test_pixels_are_those_of_an_evaluation(
    photo: PillowImage.Image, mode: str, format: str, tmp_path: Path
) -> None:
    upload = uploaded(photo.convert(mode), format)
    path = tmp_path / "photo"
    path.write_bytes(upload.content)
    assert (decode(upload).pixels_bgr == read_pixels(path, where="it")).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_pixels_are_upright(photo: PillowImage.Image, orientation: int) -> None:
    exif = PillowImage.Exif()
    exif[274] = orientation
    upload = uploaded(photo, "PNG", exif=exif)
    header, image = read_header(upload, 1.0), decode(upload)
    assert (header.height_px, header.width_px) == image.pixels_bgr.shape[:2]
    assert (header.width_px < header.height_px) == (orientation >= 5)
    assert bool(header.notes) == (orientation != 1)


def test_16_bits_keep_their_contrast() -> None:
    steps = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    upload = uploaded(PillowImage.fromarray(steps), "PNG")
    assert (decode(upload).pixels_bgr[:, :, 0].ravel() == np.arange(256)).all()
    assert "16 bits" in read_header(upload, 1.0).notes[0]


def test_more_than_16_bits_are_refused() -> None:
    upload = uploaded(PillowImage.fromarray(np.full((4, 4), 70_000, dtype=np.int32)), "TIFF")
    with pytest.raises(Refusal) as refused:
        decode(upload)
    assert refused.value.fault.status == 400
    assert "not of 16 bits" in str(refused.value.fault.found)


@pytest.mark.parametrize(
    ("mode", "format", "options", "note"),
    [
        ("P", "GIF", {"save_all": True}, "the first of its 2 pictures"),
        ("RGB", "WEBP", {"save_all": True}, "the first of its 2 pictures"),
        ("RGBA", "PNG", {}, "transparency"),
        ("CMYK", "JPEG", {}, "CMYK"),
    ],
)
def test_what_was_made_of_it_is_told(
    photo: PillowImage.Image, mode: str, format: str, options: dict[str, Any], note: str
) -> None:
    if options:
        options = {**options, "append_images": [photo.rotate(90).convert(mode)]}
    header = read_header(uploaded(photo.convert(mode), format, **options), 1.0)
    assert note in header.notes[0]
    assert header.format == format


def test_an_ordinary_picture_needs_no_note() -> None:
    header = read_header(Upload(name="it", content=picture_bytes("JPEG")), 1.0)
    assert header.notes == ()
    assert (header.width_px, header.height_px) == (40, 30)


def test_a_png_brings_back_every_pixel(photo: PillowImage.Image) -> None:
    pixels_bgr = np.asarray(photo)[:, :, ::-1]
    again = decode(Upload(name="it", content=encode(pixels_bgr, "png")))
    assert (again.pixels_bgr == pixels_bgr).all()
    with PillowImage.open(BytesIO(encode(pixels_bgr, "jpeg"))) as picture:
        assert picture.format == "JPEG"
