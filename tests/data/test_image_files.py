"""Pictures found by what a user types."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness.core.errors import UsageError
from harness.data.image_files import digest_of, find_photos, folder_of_all, read_size


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
    assert names(find_photos([str(photos)]), photos) == ["a.jpg", "b.png", "deep/c.webp"]


def test_each_picture_once_in_the_order_of_the_words(photos: Path) -> None:
    words = [str(photos / "b.png"), str(photos), str(photos / "deep" / ".." / "b.png")]
    assert names(find_photos(words), photos) == ["b.png", "a.jpg", "deep/c.webp"]


def test_a_file_is_taken_whatever_it_is_called(photos: Path) -> None:
    assert names(find_photos([str(photos / "notes.txt")]), photos) == ["notes.txt"]


def test_globs_are_expanded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert names(find_photos(["*.jpg", "**/*.webp"]), photos) == ["a.jpg", "deep/c.webp"]


def test_earlier_results_are_left_out(photos: Path) -> None:
    found = find_photos([str(photos)], outside=photos / "deep")
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
        find_photos(["a.jpg", word])


def test_the_folder_of_all_holds_all(photos: Path) -> None:
    assert folder_of_all(find_photos([str(photos)])) == photos
    assert folder_of_all([photos / "deep" / "c.webp"]) == photos / "deep"


def test_a_replaced_picture_is_noticed(photos: Path) -> None:
    paths = find_photos([str(photos)])
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
