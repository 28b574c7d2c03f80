"""Odd inputs of ``../shared/cases``, rebuilt there from public reports, of data and images.

Each ends in the right file or in a sentence with its exit code. The kinds they stand for are tested
with inputs of their own beside the code that reads them; these are the reports themselves.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One command on a copy of a case's folder, and what must come out."""

    argv: tuple[str, ...]
    code: int = 0
    says: tuple[str, ...] = ()
    objects: tuple[str, ...] | None = None
    """Of a written file: the category of every object, and "box" where it has no mask."""

    extra: Callable[[dict[str, Any]], bool] | None = None
    """More that must be true of the written file."""


def convert(source: str, *more: str, **expected: Any) -> Case:
    return Case(argv=("data", "convert", source, "--output", "OUT", *more), **expected)


def clean(source: str, *more: str, **expected: Any) -> Case:
    return Case(argv=("data", "clean", source, "--output", "OUT", *more), **expected)


def check(source: str, *more: str, **expected: Any) -> Case:
    return Case(argv=("data", "check", source, *more), **expected)


BOXES = ("cat box", "dog box") * 4

TABLE: dict[str, Case] = {
    "avif-photo": convert(".", objects=("a",)),
    "category-space": convert(
        "coco.json", "--images", ".", objects=("Cat", "cat"), says=("spaces around",)
    ),
    "category-space clean": clean("coco.json", objects=("Cat", "cat"), says=("spaces around",)),
    "detected-as-yolo": convert(".", objects=("cat box",), says=("voc: 1 images",)),
    "exif": convert("g.json", "--images", ".", objects=("cat",), says=("turned upright",),
                    extra=lambda content: content["annotations"][0]["bbox"] == [60, 10, 40, 30]),
    "exif check": check("g.json", "--images", ".", code=4, says=("data convert", "EXIF turns it")),
    "exif clean": clean("g.json", "--images", ".", code=4, says=("data convert",)),
    "iscrowd-text": convert("coco.json", objects=("cat",),
                            extra=lambda content: content["annotations"][0]["iscrowd"] == 0),
    "iscrowd-text clean": clean("coco.json", objects=("cat",),
                                extra=lambda content: content["annotations"][0]["iscrowd"] == 0),
    "labelme-mask-group": convert(".", objects=("cow", "pig"), says=("joined with others",)),
    "labelme-rotation": convert(".", objects=("ship box", "ship", "ok box")),
    "long-name": clean("fnlong.json", "--images", ".", code=4, says=("whose file is missing",)),
    "long-name NUL": check("fnnul.json", "--images", ".", code=4, says=("NUL in",)),
    "ls-bitmask": convert(".", code=4, says=("drawn as bitmask, that cannot be read",)),
    "ls-labels-text": convert("e.json", objects=("Cat box",)),
    "lvis panoptic": convert("pan.json", code=4, says=("a panoptic file",)),
    "lvis 1": convert("lvis1.json", code=4, says=("an LVIS file",)),
    "same-file-name check": check("dup.json", says=("listed as several images",)),
    "polygon-odd check": check("t.json", says=("8 annotations have a degenerate",)),
    "polygon-odd": convert("t.json", "--images", ".", objects=BOXES, says=("do not count",)),
    "polygon-odd clean": clean("t.json", objects=BOXES, says=("do not count",)),
    "same-file-name merge": Case(argv=("data", "merge", "dup2.json", "--output", "OUT"), code=4,
                                 says=("120 × 100 px once and 300 × 200 px",)),
    "same-file-name split": Case(argv=("data", "split", "dup.json", "--fractions", "0.5,0.5"),
                                 code=2, says=("too few",)),
    "segm-emptylist": convert("t.json", "--images", ".", objects=BOXES),
    "segm-emptylist clean": clean("t.json", "--images", ".", objects=BOXES),
    "segm-emptylist four": convert("four.json", "--images", ".", objects=BOXES),
    "segm-emptylist four clean": clean("four.json", "--images", ".", objects=BOXES),
    "voc-gbk": convert(".", objects=("猫猫 box",)),
    "voc-instances-broken": convert(".", objects=("cat box", "dog box"), says=("a.png",)),
    "voc-polygon": convert(".", objects=("cat",)),
    "wrong-photograph": convert("coco.json", "--images", "photos", code=4,
                                says=("day2/frame1.jpg; there is day1/frame1.jpg",)),
    "wrong-photograph labelme": convert("labelme", objects=("cat",), says=("day2/frame1.json",)),
    "yolo-classes-gbk": convert(".", code=4, says=("--encoding", "classes.txt")),
    "yolo-classes-gbk named": convert(".", "--encoding", "gbk", objects=("猫 box",)),
    "yolo-pose": convert(".", objects=("cat box",), says=("keypoints",)),
    "attack/yaml-laughs": convert(".", code=4, says=("aliases",)),
}  # fmt: skip


def folder_of(name: str) -> Path:
    """The folder of a case of the table, whose name may say more behind a space."""
    if not CASES.is_dir():
        pytest.skip(f"no {CASES}: the reports are beside the checkout only")
    return CASES / name.partition(" ")[0]


@pytest.mark.parametrize("name", TABLE)
def test_a_report_ends_well(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = TABLE[name]
    shutil.copytree(folder_of(name), tmp_path / "case", copy_function=shutil.copyfile)
    monkeypatch.chdir(tmp_path / "case")
    output = tmp_path / "out.json"
    code = run([str(output) if word == "OUT" else word for word in case.argv])
    told = "".join(capsys.readouterr())
    assert code == case.code, told
    for words in case.says:
        assert words in told
    if case.objects is None:
        assert not output.exists()
        return
    content = json.loads(output.read_text(encoding="utf-8"))
    names = {row["id"]: row["name"] for row in content["categories"]}
    found = [
        names[row["category_id"]] + ("" if row.get("segmentation") else " box")
        for row in content["annotations"]
    ]
    assert sorted(found) == sorted(case.objects)
    assert case.extra is None or case.extra(content)
    assert run(["data", "check", str(output)]) == 0


def test_a_name_that_is_no_utf_8_ends_no_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = folder_of("non-utf8-name") / "z.jpg"
    folder = tmp_path / "photos"
    folder.mkdir()
    shape = {"label": "a", "points": [[1, 1], [50, 1], [50, 50]], "shape_type": "polygon"}
    for name in (b"lat\xe9", b"z", b"new\nline"):
        place = os.fsencode(folder) + b"/" + name
        shutil.copyfile(photo, place + b".jpg")
        Path(os.fsdecode(place + b".json")).write_text(json.dumps({"shapes": [shape]}))
    monkeypatch.chdir(tmp_path)
    assert run(["data", "convert", "photos", "--output", "out.json"]) == 0
    told = capsys.readouterr().out
    assert "whose file name is no Unicode text" in told
    assert "labelme: 2 images, 2 objects" in told
