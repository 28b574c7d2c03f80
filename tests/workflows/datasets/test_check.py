"""``harness data check`` says everything about a data set, and refuses broken images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from harness.cli.main import run
from harness.core.errors import IntegrityError
from harness.core.progress import Silent
from harness.workflows.datasets.check import check_data
from tests.panoptic_data import write_panoptic_data


def test_a_good_data_set_is_counted(small_coco: Path) -> None:
    report = check_data(
        small_coco / "annotations.json", small_coco / "images", with_masks=True, progress=Silent()
    )
    assert (report.image_count, report.annotation_count, report.crowd_count) == (6, 10, 1)
    assert (report.learnable_images, report.learnable_objects) == (5, 9)
    assert {one.category_id: one.annotations for one in report.categories}[19] == 2
    assert report.images_checked


def test_broken_images_are_all_named(small_coco: Path) -> None:
    images = small_coco / "images"
    (images / "000000000042.png").unlink()
    (images / "000000000007.png").write_bytes(b"no image")
    Image.new("RGB", (5, 5)).save(images / "000000000300.png")
    with pytest.raises(IntegrityError) as caught:
        check_data(small_coco / "annotations.json", images, with_masks=True, progress=Silent())
    told = caught.value.message
    assert told.startswith("3 images")
    assert "000000000042.png is missing" in told
    assert "000000000007.png is not an image" in told
    assert "000000000300.png is 5 × 5 px, listed 64 × 64 px" in told


def test_damaged_pixels_are_found_where_images_are_decoded(
    small_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, images = small_coco / "annotations.json", small_coco / "images"
    damaged = images / "000000000042.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    words = [str(file), "--images", str(images)]
    assert run(["data", "check", *words]) == 0
    assert "headers were read; --decode finds damaged pixels" in capsys.readouterr().out
    assert run(["data", "check", *words, "--decode"]) == 4
    told = capsys.readouterr().err
    assert "1 image of" in told
    assert "000000000042.png cannot be decoded" in told
    assert "--output CLEAN --decode" in told
    clean = str(tmp_path / "clean.json")
    assert run(["data", "clean", *words, "--decode", "--output", clean]) == 0
    assert "000000000042.png" in capsys.readouterr().out
    assert run(["data", "check", clean, "--images", str(images), "--decode"]) == 0
    assert "and was decoded" in capsys.readouterr().out
    assert run(["data", "check", clean, "--decode"]) == 2
    assert "--decode needs the images" in capsys.readouterr().err


def test_the_command_prints_counts_and_notes(
    small_coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = str(small_coco / "annotations.json")
    assert run(["data", "check", annotations, "--images", str(small_coco / "images")]) == 0
    told = capsys.readouterr().out
    assert "5 images with 9 objects to learn from" in told
    assert "left out: 1 crowd region" in told
    assert "OK: every image is there" in told
    assert run(["data", "check", annotations, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["learnable_objects"] == 9
    assert run(["data", "check", "absent.json"]) == 2


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    empty = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cup"}]}
    (tmp_path / "a.json").write_text(json.dumps(empty), encoding="utf-8")
    with pytest.raises(IntegrityError, match="lists no image"):
        check_data(tmp_path / "a.json", None, with_masks=True, progress=Silent())


def test_faults_of_images_name_what_puts_them_right(
    small_coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations, images = small_coco / "annotations.json", small_coco / "images"
    content = json.loads(annotations.read_text(encoding="utf-8"))
    content["images"][0]["file_name"] = "..\\images\\" + content["images"][0]["file_name"]
    annotations.write_text(json.dumps(content), encoding="utf-8")
    assert run(["data", "check", str(annotations), "--images", str(images)]) == 4
    told = capsys.readouterr().err
    assert "--from coco" in told
    assert "harness data clean" not in told
    fixed = small_coco / "fixed.json"
    argv = ["data", "convert", str(annotations), "--from", "coco", "--images", str(images)]
    assert run([*argv, "--output", str(fixed)]) == 0
    assert run(["data", "check", str(fixed), "--images", str(images)]) == 0


def test_images_of_16_bits_are_noted(small_coco: Path) -> None:
    images = small_coco / "images"
    with Image.open(images / "000000000042.png") as image:
        size = image.size
    Image.new("I;16", size).save(images / "000000000042.png")
    report = check_data(small_coco / "annotations.json", images, with_masks=True, progress=Silent())
    (note,) = (one for one in report.warnings if "8 bits" in one)
    assert note.startswith("1 image")


@pytest.fixture
def maps(tmp_path: Path, embedded_root: Path) -> Path:
    """A folder with instances.json, panoptic.json and panoptic/ of three scenes."""
    write_panoptic_data(tmp_path, images=3, root=embedded_root)
    return tmp_path


def checked(maps: Path, *words: str) -> int:
    names = [str(maps / name) for name in ("instances.json", "panoptic.json")]
    return run(["data", "check", names[0], "--panoptic", names[1], *words])


def test_panoptic_annotations_are_counted(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(maps) == 0
    told = capsys.readouterr().out
    assert "3 maps with " in told
    assert "of 80 kinds of objects and 53 of stuff; every PNG was read" in told
    content = json.loads((maps / "panoptic.json").read_text("utf-8"))
    content["annotations"][0]["segments_info"].pop()
    (maps / "panoptic.json").write_text(json.dumps(content), "utf-8")
    assert checked(maps) == 0
    assert "note: 1 segment of the PNGs is not listed in panoptic" in capsys.readouterr().out
    assert checked(maps, "--json") == 0
    assert json.loads(capsys.readouterr().out)["panoptic"]["map_count"] == 3


def test_panoptic_pngs_that_are_missing_or_damaged_are_named(
    maps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = sorted((maps / "panoptic").iterdir())
    first.write_bytes(b"no PNG")
    Image.new("RGB", (5, 5)).save(second)
    assert checked(maps) == 4
    told = capsys.readouterr().err
    assert "2 panoptic PNGs of" in told
    assert f"{first} cannot be read as a PNG of segments" in told
    assert f"{second} is 5 × 5 px, its image is" in told
    assert "--panoptic FILE is in COCO's panoptic format" in told
    third.unlink()
    assert checked(maps) == 4
    told = capsys.readouterr().err
    assert f"1 of 3 panoptic PNGs are missing in {maps / 'panoptic'}, the first is" in told
    assert "2017" not in told
    (maps / "panoptic").rename(maps / "elsewhere")
    assert checked(maps) == 2
    assert f"no such folder of panoptic PNGs: {maps / 'panoptic'}" in capsys.readouterr().err
    assert run(["data", "check", str(maps / "instances.json"), "--panoptic-masks", str(maps)]) == 2
    assert "--panoptic-masks goes with --panoptic FILE" in capsys.readouterr().err
