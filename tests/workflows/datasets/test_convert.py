"""From labelled photographs to a file that can be trained on, by the words users type."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run
from harness.data.coco import read_annotations
from tests.data.convert.formats.drawing import labelme_file, photograph, shape, written

TRIANGLE = [[10, 10], [40, 10], [10, 40]]
SQUARE = [[50, 20], [70, 20], [70, 40], [50, 40]]


@pytest.fixture
def pandas(odd_tmp_path: Path) -> Path:
    """A folder of three photographs, labelled with labelme."""
    folder = odd_tmp_path / "photos"
    shapes = {
        "b": [shape("red panda", SQUARE), shape("panda", TRIANGLE)],
        "a": [shape("panda", SQUARE), shape("panda", [[10, 10], [30, 30]], "rectangle")],
        "c": [],
    }
    for name, found in shapes.items():
        photograph(folder / f"{name}.jpg", 80, 60)
        labelme_file(folder / f"{name}.json", found)
    return folder


def answer(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[int, str, str]:
    code = run(["data", *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_folder_of_labelme_becomes_one_checked_file(
    pandas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = pandas.parent / "instances.json"
    code, out, _ = answer(capsys, "convert", pandas, "--output", output)
    assert code == 0
    assert "labelme: 3 images, 4 objects" in out
    assert "objects that are boxes" in out
    content = read_annotations(output)
    assert [row["file_name"] for row in content["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
    assert content["categories"] == [{"id": 1, "name": "panda"}, {"id": 2, "name": "red panda"}]
    first, box, red, _ = content["annotations"]
    assert first["segmentation"] == [[50, 20, 70, 20, 70, 40, 50, 40]]
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([50, 20, 20, 20], 400, 0)
    assert (box["bbox"], box["area"], "segmentation" in box) == ([10, 10, 20, 20], 400, False)
    assert red["category_id"] == 2
    assert answer(capsys, "check", output, "--images", pandas)[0] == 0
    again = pandas.parent / "again.json"
    answer(capsys, "convert", pandas, "--output", again)
    assert again.read_bytes() == output.read_bytes()


def test_categories_are_those_asked_for_in_that_order(
    pandas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = pandas.parent / "instances.json"
    options = ("--categories", "red panda,koala", "--json")
    code, out, _ = answer(capsys, "convert", pandas, "--output", output, *options)
    report = json.loads(out)
    assert code == 0
    assert [(one["name"], one["objects"]) for one in report["categories"]] == [
        ("red panda", 1),
        ("koala", 0),
    ]
    assert report["dropped_objects"] == [
        {"what": "of a category not asked for: panda", "count": 3, "first": "a.json: shape 0"}
    ]


def test_boxes_become_masks_on_demand(pandas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = pandas.parent / "instances.json"
    answer(capsys, "convert", pandas, "--output", output, "--boxes-as-masks")
    assert all("segmentation" in row for row in read_annotations(output)["annotations"])


def test_images_inside_their_annotations_are_taken_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = photograph(tmp_path / "made" / "a.jpg", 80, 60).read_bytes()
    data = base64.b64encode(content).decode()
    labelme_file(tmp_path / "labels" / "a.json", [shape("cup", SQUARE)], imageData=data)
    output = tmp_path / "instances.json"
    code, _, err = answer(capsys, "convert", tmp_path / "labels", "--output", output)
    assert (code, "--images DIR" in err, output.exists()) == (2, True, False)
    images = tmp_path / "images"
    options = ("--output", output, "--images", images)
    assert answer(capsys, "convert", tmp_path / "labels", *options)[0] == 0
    assert answer(capsys, "check", output, "--images", images)[0] == 0


def test_real_exports_of_label_studio_pass_the_check(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, objects in (("data", 4), ("data_obb", 25), ("data_polygons", 1)):
        source = shared_data / "other" / "labelstudio" / f"{name}.json"
        output = tmp_path / f"{name}.json"
        assert answer(capsys, "convert", source, "--output", output, "--boxes-as-masks")[0] == 0
        assert len(read_annotations(output)["annotations"]) == objects
        assert answer(capsys, "check", output)[0] == 0


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["nowhere"], 2, "no such file or folder"),
        (["."], 2, "the format of these annotations is not clear"),
        ([".", "--from", "labelme"], 4, "nothing of"),
        (["a.json", "--annotator", "1"], 2, "applies to labelstudio"),
        (["a.json", "--images", "nowhere", "--from", "coco"], 2, "no such folder of images"),
        (["a.json", "--from", "labelstudio"], 4, "not an export of Label Studio"),
        (["broken.xml"], 4, "is not XML"),
        (["broken.json"], 4, "is not JSON"),
    ],
)
def test_what_cannot_be_meant_is_told(
    argv: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if argv != ["."] and "labelme" not in argv:
        labelme_file(tmp_path / "a.json", [shape("cup", SQUARE)])
        (tmp_path / "broken.xml").write_text("<annotation>", encoding="utf-8")
        (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    found, _, err = answer(capsys, "convert", *argv, "--output", tmp_path / "out.json")
    assert (found, told in err, (tmp_path / "out.json").exists()) == (code, True, False), err


def test_formats_are_told_from_what_lies_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_coco: Path
) -> None:
    from tests.data.convert.formats.test_others import VOC, yolo_folder

    (tmp_path / "voc").mkdir()
    photograph(tmp_path / "voc" / "a.jpg", 80, 60)
    (tmp_path / "voc" / "a.xml").write_text(VOC.format(name="a.jpg"), encoding="utf-8")
    sources = {
        "voc": tmp_path / "voc",
        "yolo": yolo_folder(tmp_path / "yolo"),
        "coco": small_coco / "annotations.json",
    }
    for name, source in sources.items():
        options = ("--output", tmp_path / f"{name}.json", "--json")
        code, out, err = answer(capsys, "convert", source, *options)
        assert code == 0, err
        assert json.loads(out)["source_format"] == name
        assert answer(capsys, "check", tmp_path / f"{name}.json")[0] == 0


def test_a_file_of_coco_comes_back_the_same(
    small_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "again.json"
    source, images = small_coco / "annotations.json", small_coco / "images"
    answer(capsys, "convert", source, "--output", output, "--images", images)
    before, after = read_annotations(source), read_annotations(output)

    def objects(content: dict[str, Any]) -> list[Any]:
        names = {row["id"]: row["file_name"] for row in content["images"]}
        kinds = {row["id"]: row["name"] for row in content["categories"]}
        return sorted(
            (names[row["image_id"]], kinds[row["category_id"]], row["bbox"], row["area"])
            for row in content["annotations"]
        )

    assert objects(after) == objects(before)


def test_an_export_with_its_images_beside_it_needs_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.data.convert.formats.test_labelstudio import annotation, polygon, task

    photograph(tmp_path / "images" / "1a2b3c4d-cat.jpg", 200, 100)
    written(tmp_path / "export.json", [task(annotation(1, polygon("cat")))])
    output = tmp_path / "instances.json"
    assert answer(capsys, "convert", tmp_path / "export.json", "--output", output)[0] == 0
    (image,) = read_annotations(output)["images"]
    assert image["file_name"] == "1a2b3c4d-cat.jpg"
    code, _, err = answer(capsys, "check", output, "--images", tmp_path / "images")
    assert code == 0, err


def test_clean_split_merge_and_subset_from_the_command_line(
    pandas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pandas.parent
    whole = folder / "whole.json"
    answer(capsys, "convert", pandas, "--output", whole, "--boxes-as-masks")
    clean = folder / "clean.json"
    (pandas / "c.jpg").unlink()
    code, out, _ = answer(capsys, "clean", whole, "--output", clean, "--images", pandas)
    assert code == 0
    assert "whose file is missing" in out
    assert "3 images, 4 objects → 2 images, 4 objects" in out
    code, out, _ = answer(
        capsys, "split", clean, "--fractions", "0.5,0.5", "--seed", 1, "--names", "x,y", "--json"
    )
    assert code == 0
    written_files = json.loads(out)["written"]
    assert [Path(one["path"]).name for one in written_files] == ["x.json", "y.json"]
    assert [one["image_count"] for one in written_files] == [1, 1]
    parts = (folder / "x.json", folder / "y.json")
    code, out, _ = answer(capsys, "merge", *parts, "--output", folder / "m.json")
    assert (code, "2 images, 4 objects" in out) == (0, True)
    options = ("--output", folder / "m2.json", "--folders", pandas, folder)
    assert answer(capsys, "merge", *parts, *options)[0] == 0
    names = {
        row["file_name"].partition("/")[0] for row in read_annotations(folder / "m2.json")["images"]
    }
    assert "photos" in names
    options = ("--output", folder / "s.json", "--categories", "red panda")
    assert answer(capsys, "subset", clean, *options)[0] == 0
    assert len(read_annotations(folder / "s.json")["images"]) == 1


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["split", "a.json", "--fractions", "0.8,0.3"], "add up to 1"),
        (["split", "a.json", "--fractions", "0.2,0.2,0.2,0.4"], "as many names"),
        (["split", "a.json", "--names", "a,b"], "would replace"),
        (["merge", "a.json", "b.json", "--output", "./a.json"], "would replace a.json"),
        (["subset", "a.json", "--images", "1", "--output", "a.json"], "would replace a.json"),
        (["split", "a.json", "--fractions", "0.99,0.01"], "too few"),
        (["subset", "a.json", "--images", "9", "--output", "b.json"], "there are"),
        (
            ["merge", "a.json", "a.json", "--folders", ".", "--output", "b.json"],
            "as many --folders",
        ),
        (["clean", "a.json", "--images", "nowhere", "--output", "b.json"], "no such folder"),
    ],
)
def test_wrong_requests_are_explained(
    argv: list[str],
    told: str,
    small_coco: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(small_coco)
    (small_coco / "annotations.json").rename(small_coco / "a.json")
    code, _, err = answer(capsys, *argv)
    assert (code, told in err) == (2, True), err


def test_clean_leaves_a_file_or_an_error_and_not_an_empty_file(
    small_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    for row in content["annotations"]:
        row["category_id"] = 999
    other, out = written(tmp_path / "a.json", content), tmp_path / "b.json"
    code, _, err = answer(capsys, "clean", other, "--output", out)
    assert code == 4
    assert f"no object of {other} is left, and nothing is written" in err
    assert f"{len(content['annotations'])} objects of a category that is not listed" in err
    assert not out.exists()
    # One sound object is enough, and a file that had none may stay as it is.
    content["annotations"][0]["category_id"] = content["categories"][0]["id"]
    assert answer(capsys, "clean", written(other, content), "--output", out)[0] == 0
    content["annotations"] = []
    assert answer(capsys, "clean", written(other, content), "--output", out)[0] == 0
    assert read_annotations(out)["images"]


def test_clean_refuses_what_is_no_coco_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "a.json", [1])
    code, _, err = answer(capsys, "clean", other, "--output", tmp_path / "b.json")
    assert (code, "harness data convert" in err) == (4, True)


@pytest.mark.parametrize("kind", ["labelme", "yolo"])
def test_results_below_the_images_are_no_annotations(
    kind: str, pandas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of ``harness predict photos --output photos/found``."""
    if kind == "yolo":
        for file in pandas.glob("*.json"):
            file.unlink()
        for image in pandas.glob("*.jpg"):
            image.with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.2\n", encoding="utf-8")
        (pandas / "classes.txt").write_text("panda\n", encoding="utf-8")
    first, second = pandas.parent / "first.json", pandas.parent / "second.json"
    assert answer(capsys, "convert", pandas, "--output", first)[0] == 0
    found = pandas / "found"
    shutil.copytree(pandas, found / "pictures", ignore=shutil.ignore_patterns("*.txt", "*.json"))
    written(found / "run.json", {"run_id": "20260101-120000-predict-tiny-a1b2c3"})
    written(found / "predictions.json", {"images": [], "annotations": [], "categories": []})
    code, out, err = answer(capsys, "convert", pandas, "--output", second)
    assert code == 0, err
    assert "folders with results of harness: skipped" in out
    assert first.read_bytes() == second.read_bytes()
