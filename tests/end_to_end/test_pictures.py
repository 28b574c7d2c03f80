"""``harness predict`` and ``harness show`` on the command line: answers, exit codes, signals."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.fixture
def photos(small_coco: Path, project: Path) -> Path:
    """The images of the small data set, and one file that is none."""
    folder = project / "some photos"
    shutil.copytree(small_coco / "images", folder)
    return folder


def test_predict_answers_with_a_report(harness: Command, photos: Path) -> None:
    answer = harness("predict", photos, "--output", "found", "--threads", "1", "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert report == json.loads(Path("found/predict.json").read_text("utf-8"))
    assert report["images"] == 6
    assert Path("found/index.html").is_file()


def test_a_file_that_is_no_picture_fails_in_the_end(harness: Command, photos: Path) -> None:
    (photos / "notes.jpg").write_text("no picture", encoding="utf-8")
    answer = harness("predict", photos, "--output", "found", "--threads", "1")
    assert answer.code == 5
    assert answer.err.count("notes.jpg") == 1
    assert "1 of 7 files could not be read" in answer.err
    assert "in 6 images" in answer.out


def test_nothing_but_broken_files_is_a_failure_and_not_a_bug(
    harness: Command, project: Path
) -> None:
    (project / "notes.jpg").write_text("no picture", encoding="utf-8")
    answer = harness("predict", "notes.jpg", "--output", "found", "--threads", "1")
    assert answer.code == 5
    assert "0 objects in 0 images" in answer.out


@pytest.mark.slow
def test_a_killed_run_continues(
    signalled: Command, harness: Command, photos: Path, project: Path
) -> None:
    words = ["predict", photos, "--threads", "1", "--output"]
    assert harness(*words, "whole").code == 0
    assert signalled(signal.SIGKILL, 2, *words, "broken").code == -signal.SIGKILL
    answer = signalled(signal.SIGINT, 2, *words, "broken", "--resume")
    assert answer.code == 130
    assert "--output broken --resume" in answer.err
    finished = Path("broken/shards/0000.jsonl").read_text("utf-8").count("\n") - 1
    assert 4 <= finished < 6
    assert harness(*words, "broken", "--resume").code == 0
    names = [path.relative_to("whole") for path in Path("whole/pictures").iterdir()]
    assert len(names) == 6
    for name in [Path("predictions.json"), *names]:
        assert ("broken" / name).read_bytes() == ("whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["gone.jpg"], 2, "no such file or folder"),
        (["photo", "--opacity", "7"], 2, "opacity must be from 0 to 1"),
        (["photo", "--batch-size", "0"], 2, "--batch-size must be at least 1"),
        (["photo", "--model", "R_50_FPN_3x"], 3, "harness download"),
        (["photo", "--threshhold", "0.4"], 2, "did you mean --threshold?"),
    ],
)
def test_what_predict_refuses(
    words: list[str], code: int, complaint: str, harness: Command, photos: Path, project: Path
) -> None:
    shutil.copy(next(photos.iterdir()), project / "photo")
    answer = harness("predict", *words, "--output", "found")
    assert answer.code == code
    assert complaint in answer.err
    assert not Path("found").exists()


def test_weights_of_other_classes_say_what_names_them(
    harness: Command, photos: Path, small_coco: Path
) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    content["categories"].append({"id": 99, "name": "one more"})
    Path("more.json").write_text(json.dumps(content), encoding="utf-8")
    assert harness("weights", "seeded", "--model", "tiny", "--output", "own.safetensors").code == 0
    words = ["predict", photos, "--weights", "own.safetensors", "--output"]
    assert harness(*words, "right").code == 0
    answer = harness(*words, "wrong", "--annotations", "more.json")
    assert answer.code == 4
    assert "another number of classes" in answer.err
    answer = harness(*words, "coco", "--model", "R_50_FPN_3x")
    assert answer.code == 4
    assert "--annotations FILE" in answer.err


def test_show_says_what_it_counted(harness: Command, on_small: list[str]) -> None:
    assert harness("eval", "--engine", "fake", *on_small, "--output", "run").code == 0
    answer = harness("show", "run", "--format", "plain")
    assert answer.code == 0, answer.err
    assert "9 true positives, 0 false negatives, 0 false positives in 6 images" in answer.out
    report = json.loads(harness("show", "run", "--most", "1", "--json").out)
    assert report["drawn"] == 1
    assert report["page"] == "run/show/index.html"
    answer = harness("show", *on_small, "--sample", "2")
    assert "pictures: " in answer.out
    assert Path("results/pictures/annotations/index.html").is_file()


def test_show_refuses_what_has_no_truth(harness: Command, photos: Path) -> None:
    assert harness("predict", photos, "--output", "found", "--threads", "1").code == 0
    answer = harness("show", "found")
    assert answer.code == 2
    assert "found/index.html" in answer.err
    assert harness("score", "found").code == 2
    assert harness("show").code == 2
