"""Which file an annotation means: every way of saying it in one table, for all formats."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from harness.data.convert.alignment import AlignedAnnotations, aligned
from harness.data.convert.formats import coco, labelme, labelstudio, voc
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import SourceAnnotations, Tally
from harness.data.convert.to_coco import ConvertOptions, to_coco
from tests.data.convert.formats.drawing import labelme_file, photograph, shape, written

TRIANGLE = [[10, 10], [40, 10], [10, 40]]
COMPOSED = unicodedata.normalize("NFC", "é.jpg")
DECOMPOSED = unicodedata.normalize("NFD", "é.jpg")

#: What an annotation calls its image, the files there are, and those that may be meant.
CASES: dict[str, tuple[str, tuple[str, ...], list[str]]] = {
    "the path": ("day1/a.jpg", ("day1/a.jpg", "day2/a.jpg"), ["day1/a.jpg"]),
    "another folder": ("day2/a.jpg", ("day1/a.jpg",), []),
    "another folder, deeper": ("x/day2/a.jpg", ("y/day1/a.jpg",), []),
    "another folder in the middle": ("day2/left/a.jpg", ("day1/left/a.jpg",), []),
    "other folder and one without": ("day2/a.jpg", ("day1/a.jpg", "a.jpg"), ["a.jpg"]),
    "no folder told": ("a.jpg", ("day1/a.jpg",), ["day1/a.jpg"]),
    "a base name twice": ("a.jpg", ("day1/a.jpg", "day2/a.jpg"), ["day1/a.jpg", "day2/a.jpg"]),
    "more folders told": ("/home/me/day1/a.jpg", ("day1/a.jpg", "b.jpg"), ["day1/a.jpg"]),
    "fewer folders told": ("day1/a.jpg", ("2024/day1/a.jpg",), ["2024/day1/a.jpg"]),
    "folders that only say images": ("images/a.jpg", ("photos/a.jpg",), ["photos/a.jpg"]),
    "train is not val": ("images/train/a.jpg", ("images/val/a.jpg",), []),
    "another case": ("Day1/A.JPG", ("day1/a.jpg",), ["day1/a.jpg"]),
    "two cases": ("a.JPG", ("a.jpg", "A.jpg"), ["A.jpg", "a.jpg"]),
    "its own case": ("A.jpg", ("a.jpg", "A.jpg"), ["A.jpg"]),
    "percent-encoded": ("day1/my%20%C3%A4.jpg", ("day1/my ä.jpg",), ["day1/my ä.jpg"]),
    "a percent sign of its own": ("my%20a.jpg", ("my a.jpg", "my%20a.jpg"), ["my%20a.jpg"]),
    "decomposed": (DECOMPOSED, (COMPOSED,), [COMPOSED]),
    "composed": (COMPOSED, (DECOMPOSED,), [DECOMPOSED]),
    "dot and backslash": (".\\day1\\a.jpg", ("day1/a.jpg",), ["day1/a.jpg"]),
    "backslashes": ("C:\\me\\day1\\a.jpg", ("day1/a.jpg", "day2/a.jpg"), ["day1/a.jpg"]),
    "backslashes, another folder": ("C:\\me\\day3\\a.jpg", ("day1/a.jpg",), []),
    "an address with a query": ("https://h/day1/a.jpg?s=1&d=2", ("day1/a.jpg",), ["day1/a.jpg"]),
    "an address, another folder": ("https://h/day2/a.jpg?s=1", ("day1/a.jpg",), []),
    "s3": ("s3://bucket/day1/a.jpg", ("day1/a.jpg", "day2/a.jpg"), ["day1/a.jpg"]),
    "s3, another folder": ("s3://bucket/day2/a.jpg", ("day1/a.jpg",), []),
    "local files": ("/data/local-files/?d=day1%5Ca.jpg", ("day1/a.jpg",), ["day1/a.jpg"]),
    "local files, another folder": ("/data/local-files/?d=day2/a.jpg", ("day1/a.jpg",), []),
    "an upload": ("/data/upload/3/1a2b3c4d-a%20b.jpg", ("a b.jpg",), ["a b.jpg"]),
    "an upload as it is": ("data/upload/3/1a2b3c4d-a.jpg", ("1a2b3c4d-a.jpg",), ["1a2b3c4d-a.jpg"]),
    "an upload on the server": ("..\\..\\media\\upload\\4\\1a2b3c4d-a.jpg", ("a.jpg",), ["a.jpg"]),
    "a prefix that is no upload": ("day2/1a2b3c4d-a.jpg", ("day1/a.jpg",), []),
    "a question mark of its own": ("what?.jpg", ("what?.jpg", "what"), ["what?.jpg"]),
    "a number sign of its own": ("x/a#1.jpg", ("a#1.jpg",), ["a#1.jpg"]),
    "brackets": ("http://[x/a.jpg", ("a.jpg",), ["a.jpg"]),
    "out of the folder": ("../../etc/a.jpg", ("a.jpg",), ["a.jpg"]),
    "a NUL": ("a\0.jpg", ("a.jpg",), []),
    "300 characters": ("x" * 300 + ".jpg", ("a.jpg",), []),
    "nothing": ("", ("a.jpg",), []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_which_files_may_be_meant(name: str, odd_tmp_path: Path) -> None:
    told, files, meant = CASES[name]
    for file in files:
        if file.endswith("jpg"):
            photograph(odd_tmp_path / file, 8, 6)
    found = ImageFolder(odd_tmp_path).match([told], Path("nowhere"))
    assert sorted(found.names) == meant
    if not meant and "folder" in name:
        assert found.contradicted == files


def label_studio(path: Path, told: str) -> list[SourceAnnotations]:
    value = {"x": 1, "y": 1, "width": 20, "height": 20, "rectanglelabels": ["cat"]}
    result = {"id": "r", "type": "rectanglelabels", "value": value}
    task = {"id": 1, "data": {"image": told}, "annotations": [{"id": 1, "result": [result]}]}
    return list(labelstudio.read(written(path / "export.json", [task]), Tally()))


def coco_file(path: Path, told: str) -> list[SourceAnnotations]:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": told, "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [row],
    }
    return list(coco.read(written(path / "coco.json", content), Tally())[1])


def labelme_one(path: Path, told: str) -> list[SourceAnnotations]:
    labelme_file(path / "only.json", [shape("cat", TRIANGLE)], imagePath=told)
    return list(labelme.read(path / "only.json", Tally()))


def voc_one(path: Path, told: str) -> list[SourceAnnotations]:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    text = (
        f"<annotation><filename>{told}</filename><size><width>80</width><height>60</height></size>"
        f"<object><name>cat</name>{box}</object></annotation>"
    )
    (path / "only.xml").write_text(text, encoding="utf-8")
    return list(voc.read(path / "only.xml", Tally()))


@pytest.mark.parametrize("read", [label_studio, coco_file, labelme_one, voc_one])
def test_a_folder_that_contradicts_is_left_out_counted_and_named(read: Any, tmp_path: Path) -> None:
    photograph(tmp_path / "images" / "day1" / "a.jpg", 80, 60)
    (tmp_path / "labels").mkdir()
    sources = read(tmp_path / "labels", "day2/a.jpg")
    tally = Tally()
    assert list(aligned(sources, ImageFolder(tmp_path / "images"), tally)) == []
    (why,) = tally.images.values()
    assert why.what == "only files in other folders have its name"
    assert "day2/a.jpg" in why.first
    assert "day1/a.jpg" in why.first
    assert sum(one.count for one in tally.objects.values()) == 1
    right = read(tmp_path / "labels", "day1/a.jpg")
    (one,) = aligned(right, ImageFolder(tmp_path / "images"), Tally())
    assert one.file_name == "day1/a.jpg"


def converted(folder: Path, tally: Tally) -> dict[str, Any]:
    images = ImageFolder(folder, source=folder)
    found: list[AlignedAnnotations] = list(aligned(labelme.read(folder, tally), images, tally))
    return to_coco(found, ConvertOptions(), tally)


def test_the_folder_of_an_annotation_file_counts_where_its_name_has_none(tmp_path: Path) -> None:
    photograph(tmp_path / "day1" / "a.jpg", 80, 60)
    for day, label in (("day1", "cat"), ("day2", "dog")):
        labelme_file(tmp_path / day / "a.json", [shape(label, TRIANGLE)])
    tally = Tally()
    content = converted(tmp_path, tally)
    assert [one["name"] for one in content["categories"]] == ["cat"]
    assert "only files in other folders have its name" in tally.images


def test_annotations_beside_their_images_in_folders_of_kinds_are_found(tmp_path: Path) -> None:
    photograph(tmp_path / "img" / "a.jpg", 80, 60)
    labelme_file(tmp_path / "json" / "a.json", [shape("cat", TRIANGLE)])
    assert len(converted(tmp_path, Tally())["annotations"]) == 1


def test_a_file_that_two_paths_could_mean_is_no_ones(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 80, 60)
    rows = [
        {"id": number, "file_name": f"day{number}/a.jpg", "height": 60, "width": 80}
        for number in (1, 2)
    ]
    objects = [
        {"id": one, "image_id": one, "category_id": 1, "bbox": [1, 1, 9, 9]} for one in (1, 2)
    ]
    content = {"images": rows, "categories": [{"id": 1, "name": "cat"}], "annotations": objects}
    path = written(tmp_path / "coco.json", content)
    tally = Tally()
    found = aligned(coco.read(path, tally)[1], ImageFolder(tmp_path), tally)
    assert to_coco(found, ConvertOptions(), tally)["images"] == []
    assert {one.what: one.count for one in tally.images.values()} == {
        "several annotations of different paths could mean one file": 2
    }


def test_annotations_that_name_another_ones_image_are_left_out(tmp_path: Path) -> None:
    """Every file says that it is of the first image: a slip that whole data sets have."""
    for name in ("a", "b"):
        photograph(tmp_path / f"{name}.jpg", 80, 60)
        labelme_file(tmp_path / f"{name}.json", [shape(name, TRIANGLE)], imagePath="a.jpg")
    tally = Tally()
    content = converted(tmp_path, tally)
    assert [one["name"] for one in content["categories"]] == ["a"]
    assert sum(one.count for one in tally.objects.values()) == 1
    (tmp_path / "b.jpg").unlink()  # now both can only be of the one image
    assert len(converted(tmp_path, Tally())["annotations"]) == 2


def test_one_name_in_two_sizes_is_not_joined(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "height": 60, "width": 80},
        {"id": 2, "file_name": "a.jpg", "height": 600, "width": 800},
    ]
    objects = [
        {"id": one, "image_id": one, "category_id": 1, "bbox": [1, 1, 9, 9]} for one in (1, 2)
    ]
    content = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": objects}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    tally = Tally()
    found = to_coco(aligned(coco.read(path, tally)[1], None, tally), ConvertOptions(), tally)
    assert len(found["annotations"]) == 1
    assert list(tally.images) == ["listed again in another size"]
