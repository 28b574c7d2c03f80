"""Drawings and predictions that harness wrote below a folder are no input of another command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.data.image_files import find_images
from harness.data.own_results import GENERATOR, files_below, is_own_result, results_below


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images, one of them in a folder, a run's folder and a page of drawings."""
    folder = tmp_path / "photos"
    for name in (
        "a.jpg",
        "day 1/b.jpg",
        "day 1/index.html",
        "found/pictures/a.jpg",
        "found/pictures/day 1/b.jpg",
        "day 1/page/small/1.jpg",
        "day 1/run.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}")
    run = {"run_id": "20260101-120000-predict-tiny-a1b2c3", "kind": "predict"}
    (folder / "found" / "run.json").write_text(json.dumps(run, indent=2), encoding="utf-8")
    page = f"<!doctype html>\n<html>\n<head>\n{GENERATOR}\n"
    (folder / "day 1" / "page" / "index.html").write_text(page, encoding="utf-8")
    return folder


def below(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


@pytest.mark.parametrize("word", ["", "/**/*.jpg"])
def test_drawings_below_a_folder_are_no_images(photos: Path, word: str) -> None:
    notices: list[str] = []
    found = find_images([f"{photos}{word}"], notice=notices.append)
    assert below(found, photos) == ["a.jpg", "day 1/b.jpg"]
    assert sorted(notices) == [
        f"left out: {photos / name}, which has results of harness"
        for name in ("day 1/page", "found")
    ]


def test_drawings_that_are_named_are_images(photos: Path) -> None:
    for word in ("found", "found/pictures", "found/pictures/*.jpg"):
        assert find_images([str(photos / word)]), word
    with pytest.raises(UsageError) as refused:
        find_images([str(photos / "*" / "pictures" / "*.jpg")])
    assert refused.value.hint is not None
    assert "drawings of earlier runs do not count" in refused.value.hint


def test_the_output_itself_is_left_out_silently(photos: Path) -> None:
    notices: list[str] = []
    found = find_images([str(photos)], outside=photos / "found", notice=notices.append)
    assert below(found, photos) == ["a.jpg", "day 1/b.jpg"]
    assert len(notices) == 1


def test_files_below_are_those_of_rglob_without_results(photos: Path) -> None:
    assert sorted(results_below(photos)) == [photos / "day 1" / "page", photos / "found"]
    every = set(photos.rglob("*.jpg"))
    kept = set(files_below(photos, "*.jpg"))
    assert below(sorted(every - kept), photos) == [
        "day 1/page/small/1.jpg",
        "found/pictures/a.jpg",
        "found/pictures/day 1/b.jpg",
    ]
    assert set(files_below(photos / "found", "*.jpg")) == set((photos / "found").rglob("*.jpg"))
    # Files of these names that are somebody else's.
    assert not is_own_result(photos / "day 1")
