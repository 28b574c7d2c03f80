"""Pictures found by what a user types."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import IntegrityError, UsageError
from harness.data import image_files
from harness.data.image_files import (
    UnreadableImage,
    digest_of,
    find_images,
    folder_of_all,
    image_faults,
    read_size,
    size_of,
)
from harness.data.images import read_own_pixels, read_pixels


@pytest.fixture
def photos(odd_tmp_path: Path) -> Path:
    """Three pictures in two folders, and what is none."""
    for name in ("b.png", "a.jpg", "deep/c.webp", ".hidden/d.png", "._e.jpg"):
        path = odd_tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 20)).save(path)
    (odd_tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    return odd_tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_all_pictures_below_it_by_path(photos: Path) -> None:
    assert names(find_images([str(photos)]), photos) == ["a.jpg", "b.png", "deep/c.webp"]


def test_each_picture_once_in_the_order_of_the_words(photos: Path) -> None:
    words = [str(photos / "b.png"), str(photos), str(photos / "deep" / ".." / "b.png")]
    assert names(find_images(words), photos) == ["b.png", "a.jpg", "deep/c.webp"]


def test_a_file_is_taken_whatever_it_is_called(photos: Path) -> None:
    assert names(find_images([str(photos / "notes.txt")]), photos) == ["notes.txt"]


def test_globs_are_expanded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert names(find_images(["*.jpg", "**/*.webp"]), photos) == ["a.jpg", "deep/c.webp"]


def test_globs_do_not_go_in_circles(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("circle", "another"):
        (photos / name).symlink_to(photos, target_is_directory=True)
        (photos / "deep" / name).symlink_to(photos, target_is_directory=True)
    monkeypatch.chdir(photos)
    assert names(find_images(["**/*.jpg", "**/*.webp"]), photos) == ["a.jpg", "deep/c.webp"]
    assert names(find_images([f"{glob.escape(str(photos))}/**/*.png"]), photos) == ["b.png"]
    # A link, and what is hidden, where the pattern names them.
    assert names(find_images(["circle/*.png", ".hidden/*.png", ".*.jpg"]), photos) == [
        "circle/b.png",
        ".hidden/d.png",
        "._e.jpg",
    ]
    monkeypatch.chdir(photos / "deep")
    assert names(find_images(["../*.jpg"]), photos) == ["a.jpg"]


def test_earlier_results_are_left_out(photos: Path) -> None:
    found = find_images([str(photos)], outside=photos / "deep")
    assert names(found, photos) == ["a.jpg", "b.png"]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("gone.jpg", "no such file or folder"),
        ("*.bmp", "nothing that matches"),
        ("void", "in void"),
    ],
)
def test_what_names_nothing_is_refused(
    word: str, complaint: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    (photos / "void").mkdir()
    with pytest.raises(UsageError, match=complaint):
        find_images(["a.jpg", word])


def test_the_folder_of_all_holds_all(photos: Path) -> None:
    assert folder_of_all(find_images([str(photos)])) == photos
    assert folder_of_all([photos / "deep" / "c.webp"]) == photos / "deep"


def test_a_replaced_picture_is_noticed(photos: Path) -> None:
    paths = find_images([str(photos)])
    before = digest_of(paths)
    assert digest_of(paths) == before
    Image.new("RGB", (31, 20)).save(photos / "b.png")
    assert digest_of(paths) != before


def test_sizes_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "plain.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert read_size(tmp_path / "turned.jpg") == (30, 20)
    assert read_size(tmp_path / "plain.jpg") == (20, 30)
    assert read_size(tmp_path / "broken.jpg") == (1, 1)


#: Pillow's name of a format, and an ending of its files.
WRITTEN = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "AVIF": "avif",
    "BMP": "bmp",
    "GIF": "gif",
    "TIFF": "tif",
    "JPEG2000": "jp2",
    "PPM": "ppm",
    "QOI": "qoi",
    "SGI": "sgi",
    "PCX": "pcx",
    "TGA": "tga",
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_pillow_reads_is_found_sized_and_decoded(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{WRITTEN[kind]}"
    Image.new("RGB", (30, 20), (200, 60, 10)).save(path, kind)
    assert find_images([str(tmp_path)]) == [path]
    assert read_size(path) == (20, 30)
    assert read_pixels(path, where="a").shape == (20, 30, 3)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.eps"])
def test_an_image_starts_no_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript under any name is not handed to Ghostscript."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    path = tmp_path / name
    Image.new("RGB", (30, 20)).save(path, "EPS")
    with pytest.raises(UnreadableImage, match="it is PostScript"):
        size_of(path)
    for read in (read_pixels, read_own_pixels):
        with pytest.raises(IntegrityError, match="it is PostScript"):
            read(path, where=name)
    assert not (tmp_path / "started").exists()


def test_only_one_module_opens_image_files() -> None:
    """Otherwise a command could open a format that is not on the list."""
    package = Path(image_files.__file__).parents[1]
    opening = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(
            r"\bImage\.open\(|PillowImage\.open\((?!file, formats)", path.read_text("utf-8")
        )
    }
    assert opening == {"data/image_files.py"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (bytes(100), "nothing but zeros"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.4", "a PDF document"),
        (b"nonsense", "b'nonsense'"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=re.escape(told)):
        size_of(tmp_path / "a.jpg")


def test_faults_of_listed_images_say_what_puts_them_right(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "deep" / "a.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"")

    def kinds(*names: str, height: int = 20, width: int = 30) -> list[str]:
        rows = [{"file_name": name, "height": height, "width": width} for name in names]
        return [one.kind for one in image_faults(tmp_path, rows, lambda _: None)]

    assert kinds("turned.jpg") == ["turned"]
    assert kinds("turned.jpg", height=30, width=20) == []
    assert kinds("deep\\a.jpg", "deep/a.jpg") == ["path"]
    assert kinds("deep/a.jpg", height=21) == ["size"]
    odd = ("none.jpg", "x" * 300 + ".jpg", "nul\0.jpg", "line\nfeed.jpg", "lat\udce9.jpg")
    assert kinds(*odd, "broken.jpg") == ["missing", "unreadable", *["missing"] * 3, "unreadable"]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bits_keep_their_contrast_where_nobody_measures(kind: str, tmp_path: Path) -> None:
    steps = (np.arange(1024, dtype=np.uint16) * 64).reshape(32, 32)
    path = tmp_path / "a"
    Image.fromarray(steps).save(path, kind, **({"irreversible": False} if "2000" in kind else {}))
    pixels, notes = read_own_pixels(path, where="a")
    assert (pixels[..., 0] == steps >> 8).all()
    assert "16 bits" in notes[0]
    Image.fromarray(pixels).save(tmp_path / "b.png")
    assert read_own_pixels(tmp_path / "b.png", where="b")[1] == ()
