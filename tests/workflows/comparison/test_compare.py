"""``harness compare``: two runs of the same images, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.main import run
from harness.workflows.runs.checksums import write_checked


@pytest.fixture
def runs(small_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[Path]:
    """Two evaluations of the fake engine with different recipes."""
    folders = []
    annotations, images = str(small_coco / "annotations.json"), str(small_coco / "images")
    for number, extra in enumerate(([], ["--max-detections", "1"])):
        folder = tmp_path / f"run{number}"
        words = ["--annotations", annotations, "--images", images, "--output", str(folder)]
        assert run(["eval", "--engine", "fake", *words, *extra]) == 0
        folders.append(folder)
    # What one network finds and the other does not.
    path = folders[1] / "predictions.json"
    rows = json.loads(path.read_text("utf-8"))
    rows[0]["score"] *= 0.5
    write_checked(folders[1], path.name, json.dumps(rows[:-1]))
    capsys.readouterr()
    return folders


def test_what_differs_is_told(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *map(str, runs), "--json", "--resamples", "20"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert ["request.inference.max_detections", "None", "1"] in found["facts"]
    assert found["differing_images"] == 2
    assert found["first_differing"] == min(image for image, _ in found["images"])
    by_name = {one["metric"]: one for one in found["metrics"]}
    assert by_name["bbox/AP"]["interval"]["low"] <= by_name["bbox/AP"]["interval"]["high"]
    assert by_name["bbox/AR100"]["interval"] is None
    # A size is one of many that are looked at together, AP is not.
    assert by_name["bbox/APs"]["interval"]["adjusted_p"] is not None
    assert by_name["bbox/AP"]["interval"]["adjusted_p"] is None


def test_files_of_predictions_are_compared_on_their_annotations(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(folder / "predictions.json") for folder in runs]
    assert run(["compare", *files, "--json", "--resamples", "20"]) == 2
    assert "--annotations" in capsys.readouterr().err
    annotations = json.loads((runs[0] / "run.json").read_text())["dataset"]["annotations_path"]
    words = ["--annotations", annotations, "--json", "--resamples", "20"]
    assert run(["compare", *files, *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["facts"] == []
    assert found["differing_images"] == 2


@pytest.mark.parametrize(("images_of_cats", "said"), [(2, True), (8, False)])
def test_categories_in_few_images_are_said_to_have_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], images_of_cats: int, said: bool
) -> None:
    images = [{"id": one, "file_name": f"{one}.jpg", "height": 80, "width": 80} for one in range(8)]
    objects = [
        {"image_id": image, "category_id": category, "bbox": [9.0, 9.0, 30.0, 40.0]}
        for category, count in ((1, 8), (2, images_of_cats))
        for image in range(count)
    ]
    rows = [
        {"id": number, "area": 1200.0, "iscrowd": 0, **one}
        for number, one in enumerate(objects, start=1)
    ]
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    content = {"images": images, "annotations": rows, "categories": categories}
    files = [tmp_path / name for name in ("annotations.json", "first.json", "second.json")]
    found = [[{**one, "score": 0.5} for one in part] for part in (objects, objects[1:-1])]
    for file, plain in zip(files, (content, *found), strict=True):
        file.write_text(json.dumps(plain), "utf-8")
    page = tmp_path / "page.html"
    words = ["--annotations", str(files[0]), "--resamples", "20", "--html", str(page)]
    assert run(["compare", str(files[1]), str(files[2]), *words]) == 0
    sentence = "is said of categories whose objects are in fewer than 5 images"
    assert (sentence in capsys.readouterr().out) is said
    assert (sentence in page.read_text("utf-8")) is said


def test_two_runs_are_not_compared_on_other_annotations(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*map(str, runs), "--annotations", "other.json", "--resamples", "0"]
    assert run(["compare", *words]) == 2
    assert "leave out --annotations" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "diagnose"])
def test_damaged_predictions_of_a_run_are_found_beside_a_file(
    command: str, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = json.loads((runs[0] / "run.json").read_text())["dataset"]["annotations_path"]
    file = tmp_path / "mine.json"
    path = runs[0] / "predictions.json"
    file.write_text(path.read_text("utf-8"), encoding="utf-8")
    rows = json.loads(path.read_text("utf-8"))
    rows[0]["score"] *= 0.25
    path.write_text(json.dumps(rows), encoding="utf-8")
    other = {
        "compare": [str(file), str(runs[0])],
        "diagnose": ["--predictions", str(file), "--reference", str(runs[0])],
    }
    assert run([command, *other[command], "--annotations", annotations]) == 4
    assert "predictions.json is not the file that was written" in capsys.readouterr().err


def test_a_run_equals_itself(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", str(runs[0]), str(runs[0]), "--resamples", "0"]) == 0
    assert "the predictions of both runs are the same" in capsys.readouterr().out


def test_a_page_is_written(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["--resamples", "10", "--html", str(page)]
    assert run(["compare", *map(str, runs), *words]) == 0
    text = page.read_text("utf-8")
    assert "request.inference.max_detections" in text
    assert "2 images differ" in text
    pictures = sorted((tmp_path / "page-pictures").iterdir())
    assert len(pictures) == 2
    assert all(f"page-pictures/{path.name}" in text for path in pictures)


def test_a_page_without_its_images_has_none(
    runs: list[Path], small_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (small_coco / "images").iterdir():
        path.unlink()
    page = tmp_path / "page.html"
    words = ["--resamples", "0", "--html", str(page)]
    assert run(["compare", *map(str, runs), *words]) == 0
    assert "is missing" in capsys.readouterr().err
    assert "<img" not in page.read_text("utf-8")


def test_runs_of_other_images_are_refused(
    runs: list[Path], small_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations, images = str(small_coco / "annotations.json"), str(small_coco / "images")
    words = ["--annotations", annotations, "--images", images, "--output", str(tmp_path / "less")]
    assert run(["eval", "--engine", "fake", *words, "--limit", "2"]) == 0
    assert run(["compare", str(runs[0]), str(tmp_path / "less")]) == 2
    assert "were evaluated on different images" in capsys.readouterr().err
    assert run(["compare", str(runs[0]), str(tmp_path)]) == 2
    assert "holds no finished evaluation" in capsys.readouterr().err
