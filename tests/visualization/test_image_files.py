"""Pictures as files: in the right colours, with names of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.visualization.image_files import SMALL_PX, picture_names, write_picture


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_blue_stays_blue(ending: str, odd_tmp_path: Path) -> None:
    blue = np.zeros((30, 40, 3), dtype=np.uint8)
    blue[:, :, 0] = 250
    path = odd_tmp_path / "new folder" / f"blue.{ending}"
    write_picture(path, blue, small=None)
    with Image.open(path) as picture:
        assert picture.size == (40, 30)
        red, _, found = picture.convert("RGB").getpixel((20, 15))  # type: ignore[misc]
    assert found > 240
    assert red < 10
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_small_one_is_small(tmp_path: Path) -> None:
    pixels = np.zeros((600, 1500, 3), dtype=np.uint8)
    write_picture(tmp_path / "large.jpg", pixels, small=tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as picture:
        assert picture.size == (SMALL_PX, round(SMALL_PX * 0.4))


def test_a_view_of_an_image_is_written_as_it_looks(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:, :15] = 255
    write_picture(tmp_path / "turned.png", pixels[:, ::-1], small=None)
    with Image.open(tmp_path / "turned.png") as picture:
        assert picture.getpixel((2, 2)) == (0, 0, 0)
        assert picture.getpixel((28, 2)) == (255, 255, 255)


def test_no_two_pictures_have_one_name() -> None:
    files = ["a.png", "a.jpg", "deep/a.png", "A.webp", "no ending"]
    names = picture_names(files, "jpg")
    assert names[0] == "a.jpg"
    assert names[2] == "deep/a.jpg"
    assert names[4] == "no ending.jpg"
    assert len({name.casefold() for name in names}) == len(files)
