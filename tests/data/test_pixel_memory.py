"""Pixels copied out of Pillow's memory."""

from __future__ import annotations

import gc
import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from harness.data.pixel_memory import _memory_of, pixels_of

#: In one piece, and (over 16 MiB) in several.
ONE_PIECE = ((1, 1), (1, 7), (13, 1), (37, 53), (480, 640), (800, 1333))
SEVERAL = (2100, 2200)


def random_pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [*ONE_PIECE, SEVERAL], ids=str)
def test_pixels_are_those_that_pillow_packs(size: tuple[int, int]) -> None:
    expected = random_pixels(*size)
    image = PillowImage.fromarray(expected)
    for order, wanted in (("RGB", expected), ("BGR", expected[:, :, ::-1])):
        found = pixels_of(image, order)  # type: ignore[arg-type]
        assert np.array_equal(found, wanted)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert found.base is None


@pytest.mark.parametrize("size", ONE_PIECE, ids=str)
def test_an_image_in_one_piece_is_read_from_its_memory(size: tuple[int, int]) -> None:
    if not hasattr(PillowImage.Image, "__arrow_c_array__"):
        pytest.skip("this Pillow does not show its memory")
    image = PillowImage.fromarray(random_pixels(*size))
    memory = _memory_of(image)
    assert memory is not None
    assert memory.shape == (*size, 4)


def test_an_image_in_several_pieces_or_of_another_mode_is_packed() -> None:
    assert _memory_of(PillowImage.fromarray(random_pixels(*SEVERAL))) is None
    assert _memory_of(PillowImage.new("L", (8, 8))) is None


def test_the_memory_outlives_its_image() -> None:
    expected = random_pixels(64, 48)
    memory = _memory_of(PillowImage.fromarray(expected))
    if memory is None:
        pytest.skip("this Pillow does not show its memory")
    gc.collect()
    others = [PillowImage.new("RGB", (48, 64), (9, 9, 9)) for _ in range(50)]
    assert np.array_equal(memory[:, :, :3], expected)
    assert len(others) == 50


def test_files_are_decoded_first() -> None:
    expected = random_pixels(30, 40)
    buffer = io.BytesIO()
    PillowImage.fromarray(expected).save(buffer, "PNG")
    buffer.seek(0)
    with PillowImage.open(buffer) as image:
        assert np.array_equal(pixels_of(image), expected)


def test_a_copy_does_not_change_its_image() -> None:
    image = PillowImage.new("RGB", (5, 4), (1, 2, 3))
    pixels_of(image)[:] = 200
    assert image.getpixel((4, 3)) == (1, 2, 3)
