"""Pixels: what a file of any kind decodes to, and that the reference sees the same."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ExifTags
from PIL import Image as PillowImage

from harness.core.dataset import ImageRecord
from harness.core.errors import IntegrityError
from harness.data.images import load_image, read_pixels, resize, resize_shape, too_narrow

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def reference() -> Any:
    """Detectron2's reading of images; skips where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        return pytest.importorskip("detectron2.data.detection_utils")


@pytest.fixture(scope="module")
def reference_resize() -> Any:
    """Detectron2's resizing as one function of pixels, short edge and longest long edge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transforms = pytest.importorskip("detectron2.data.transforms")

    def resized(pixels: Any, short_edge: int, long_edge_max: int) -> Any:
        augmentation = transforms.ResizeShortestEdge(short_edge, long_edge_max)
        return augmentation.get_transform(pixels).apply_image(pixels)

    return resized


def picture(mode: str = "RGB") -> PillowImage.Image:
    """A picture without symmetry: every turn and every mixed-up channel shows."""
    pixels = np.random.default_rng(3).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    pixels[:3, :5] = (250, 30, 10)
    return PillowImage.fromarray(pixels).resize((WIDTH, HEIGHT)).convert(mode)


def sixteen_bit() -> PillowImage.Image:
    return PillowImage.fromarray(
        np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 60
    )


def palette() -> PillowImage.Image:
    return picture().quantize(16)


def turned(orientation: Any, image: PillowImage.Image | None = None) -> dict[str, Any]:
    exif = (image or picture()).getexif()
    exif[ExifTags.Base.Orientation] = orientation
    return {"exif": exif}


#: Name of a file, the picture in it, options of its encoder.
FILES: dict[str, tuple[str, PillowImage.Image, dict[str, Any]]] = {
    "colour": ("a.png", picture(), {}),
    "grey": ("a.png", picture("L"), {}),
    "grey with alpha": ("a.png", picture("LA"), {}),
    "grey with a transparent shade": ("a.png", picture("L"), {"transparency": 30}),
    "black and white": ("a.png", picture("1"), {}),
    "alpha": ("a.png", picture("RGBA"), {}),
    "a transparent colour": ("a.png", picture(), {"transparency": (250, 30, 10)}),
    "palette": ("a.png", palette(), {}),
    "palette with a transparent entry": ("a.png", palette(), {"transparency": 3}),
    "palette with alphas": ("a.png", palette(), {"transparency": bytes(range(0, 256, 16))}),
    "16 bit": ("a.png", sixteen_bit(), {}),
    "16 bit TIFF": ("a.tif", sixteen_bit(), {}),
    "32 bit TIFF": ("a.tif", picture("I"), {}),
    "floats": ("a.tif", picture("F"), {}),
    "Lab": ("a.tif", picture("LAB"), {}),
    "JPEG": ("a.jpg", picture(), {}),
    "JPEG of another name": ("a.png", picture(), {"format": "JPEG"}),
    "progressive JPEG": ("a.jpg", picture(), {"progressive": True}),
    "grey JPEG": ("a.jpg", picture("L"), {}),
    "CMYK JPEG": ("a.jpg", picture("CMYK"), {}),
    "CMYK TIFF": ("a.tif", picture("CMYK"), {}),
    "GIF": ("a.gif", palette(), {}),
    "bitmap": ("a.bmp", picture(), {}),
    "WebP": ("a.webp", picture(), {"lossless": True}),
    "EXIF in PNG": ("a.png", picture(), turned(6)),
    "EXIF in WebP": ("a.webp", picture(), {"lossless": True, **turned(8)}),
    "EXIF in grey JPEG": ("a.jpg", picture("L"), turned(5)),
    "EXIF in CMYK JPEG": ("a.jpg", picture("CMYK"), turned(3)),
    "EXIF in palette": ("a.png", palette(), turned(6)),
    "EXIF of noise": ("a.jpg", picture(), {"exif": b"Exif\x00\x00II*\x00\xff\xff\xff\xff noise"}),
    "EXIF of no form": ("a.jpg", picture(), {"exif": b"Exif\x00\x00nothing"}),
    "EXIF that is cut off": (
        "a.jpg",
        picture(),
        {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09\x01\x12\x00\x03"},
    ),
    **{f"EXIF {turn}": ("a.jpg", picture(), turned(turn)) for turn in range(10)},
}


def saved(folder: Path, name: str) -> Path:
    file_name, image, options = FILES[name]
    image.save(folder / file_name, **options)
    return folder / file_name


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_decodes_as_in_the_reference(
    odd_tmp_path: Path, reference: Any, name: str
) -> None:
    path = saved(odd_tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference does not silence Pillow
        expected = reference.read_image(str(path), format="BGR")
    found = read_pixels(path, where="here")
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_every_kind_of_file_becomes_three_channels(tmp_path: Path, name: str) -> None:
    """No other warning of Pillow's gets through: a conversion it will give up would show here."""
    pixels = read_pixels(saved(tmp_path, name), where="here")
    exif = FILES[name][2].get("exif", {})
    sideways = isinstance(exif, PillowImage.Exif) and exif[ExifTags.Base.Orientation] in range(5, 9)
    assert pixels.shape == ((WIDTH, HEIGHT, 3) if sideways else (HEIGHT, WIDTH, 3))
    assert pixels.dtype == np.uint8


def test_channels_are_blue_green_red(tmp_path: Path) -> None:
    PillowImage.new("RGB", (2, 1), (10, 20, 30)).save(tmp_path / "a.png")
    assert read_pixels(tmp_path / "a.png", where="here").tolist() == [[[30, 20, 10]] * 2]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
def test_each_orientation_is_undone(tmp_path: Path, orientation: int, expected: Any) -> None:
    """By the Exif standard, without the reference: tag 6 has its first row on the right."""
    image = PillowImage.fromarray(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8))
    image.save(tmp_path / "a.png", **turned(orientation, image))
    assert read_pixels(tmp_path / "a.png", where="here")[:, :, 0].tolist() == expected


def test_real_images_decode_and_resize_as_in_the_reference(
    shared_data: Path, reference: Any, reference_resize: Any
) -> None:
    paths = sorted((shared_data / "coco" / "val2017").glob("*.jpg"))[::21]
    assert len(paths) == 10
    for path in paths:
        expected = reference.read_image(str(path), format="BGR")
        found = read_pixels(path, where="here")
        np.testing.assert_array_equal(found, expected)
        small = resize(found, *resize_shape(*found.shape[:2], 200, 333))
        np.testing.assert_array_equal(small, reference_resize(expected, 200, 333))


# -- records and damaged files ---------------------------------------------------------------------


def record(height: int = HEIGHT, width: int = WIDTH, name: str = "a.png") -> ImageRecord:
    return ImageRecord(17, name, height, width)


def test_an_image_carries_its_id_and_size(tmp_path: Path) -> None:
    saved(tmp_path, "colour")
    image = load_image(record(), tmp_path)
    assert (image.image_id, image.height_px, image.width_px) == (17, HEIGHT, WIDTH)


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (HEIGHT, WIDTH + 1), (HEIGHT - 1, WIDTH)])
def test_a_size_that_differs_from_the_record_is_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    saved(tmp_path, "colour")
    with pytest.raises(IntegrityError, match=r"image 17: .*is 40 × 24 px, its annotation"):
        load_image(record(*size), tmp_path)


def test_the_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    path = saved(tmp_path, "EXIF 6")
    assert load_image(record(WIDTH, HEIGHT, path.name), tmp_path).height_px == WIDTH
    with pytest.raises(IntegrityError, match="is 24 × 40 px"):
        load_image(record(HEIGHT, WIDTH, path.name), tmp_path)


def refused(folder: Path, data: bytes, said: str) -> None:
    (folder / "a.png").write_bytes(data)
    with pytest.raises(IntegrityError, match=said) as caught:
        load_image(record(), folder)
    assert caught.value.message.startswith(f"image 17: {folder / 'a.png'}")


def test_what_is_no_image_is_refused(odd_tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"image 17: .*is missing"):
        load_image(record(), odd_tmp_path)
    for data in (b"", b"<html>403 Forbidden</html>", bytes(200), b"\x89PNG\r\n\x1a\n"):
        refused(odd_tmp_path, data, "is not an image|cannot be decoded")
    (odd_tmp_path / "folder").mkdir()
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        load_image(record(name="folder"), odd_tmp_path)
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        load_image(record(name="nul\0.png"), odd_tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_an_image_that_is_cut_off_is_never_read_in_part(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    PillowImage.fromarray(
        np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    ).save(buffer, kind)
    whole = buffer.getvalue()
    for share in (0.1, 0.5, 0.9):
        refused(tmp_path, whole[: int(share * len(whole))], "is not an image|cannot be decoded")


def test_an_image_that_claims_a_huge_size_is_refused(tmp_path: Path) -> None:
    """A bomb: a few bytes that ask for gigabytes of pixels."""
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", 200_000, 200_000)  # of the chunk IHDR, which its CRC follows
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    refused(tmp_path, bytes(data), "too large to be decoded")


@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "TGA", "ICO"]),
)
def test_damaged_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int]], kind: str
) -> None:
    buffer = io.BytesIO()
    picture().resize((16, 16)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    for place, byte in edits:
        data[int(place * len(data))] = byte
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind.lower()}"
    path.write_bytes(data)
    try:
        pixels = read_pixels(path, where="here")
    except IntegrityError:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),
        ((300, 640), (625, 1333)),
        ((800, 800), (800, 800)),
        ((1, 1), (800, 800)),
    ],
)
def test_known_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resize_shape(*size, 800, 1333) == expected


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    short_edge=st.integers(16, 1200),
    slack=st.integers(0, 1200),
)
@example(height=480, width=640, short_edge=800, slack=533)
def test_sizes_equal_the_reference(
    reference: Any, height: int, width: int, short_edge: int, slack: int
) -> None:
    from detectron2.data.transforms import ResizeShortestEdge

    expected = ResizeShortestEdge.get_output_shape(height, width, short_edge, short_edge + slack)
    if 0 in expected:
        with pytest.raises(IntegrityError, match=f"{width} × {height} px is too narrow"):
            resize_shape(height, width, short_edge, short_edge + slack)
        return
    assert resize_shape(height, width, short_edge, short_edge + slack) == expected


@given(height=st.integers(1, 9000), width=st.integers(1, 3), turned=st.booleans())
def test_what_is_too_narrow_is_found_before_it_is_resized(
    height: int, width: int, turned: bool
) -> None:
    if turned:
        height, width = width, height
    record = ImageRecord(image_id=1, file_name="a.png", height_px=height, width_px=width)
    lost = bool(too_narrow([record], 800, 1333))
    assert lost == (1333 * min(height, width) / max(height, width) < 0.5)
    if not lost:
        assert min(resize_shape(height, width, 800, 1333)) > 0


@given(height=st.integers(1, 5000), width=st.integers(1, 5000))
def test_the_long_edge_is_capped_and_the_short_one_reached(height: int, width: int) -> None:
    if min(height, width) / max(height, width) < 1e-3:
        return
    found = resize_shape(height, width, 800, 1333)
    assert max(found) <= 1333
    assert min(found) == 800 or max(found) == 1333
    assert (found[0] <= found[1]) == (height <= width) or found[0] == found[1]


@pytest.mark.parametrize("size", [(5, 9), (24, 40), (61, 37), (240, 400)])
def test_pixels_are_resized_as_in_the_reference(
    reference_resize: Any, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = resize(pixels, *resize_shape(*size, 50, 80))
    np.testing.assert_array_equal(found, reference_resize(pixels, 50, 80))
    assert found.flags.writeable
