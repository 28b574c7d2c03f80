"""Images whose annotations are not public, such as COCO's test-dev: inferred, and not scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Answer


@pytest.fixture
def images_alone(small_coco: Path, project: Path) -> Path:
    """The annotation file without its annotations."""
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    del content["annotations"]
    path = project / "image_info_test-dev2017.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_they_are_inferred_like_others_and_nothing_is_scored(
    harness: Callable[..., Answer], small_coco: Path, project: Path, images_alone: Path
) -> None:
    images = ("--images", small_coco / "images", "--threads", "1")
    known = harness(
        "eval", "--annotations", small_coco / "annotations.json", *images, "--output", "known"
    )
    assert known.code in (0, 1)
    answer = harness("eval", "--annotations", images_alone, *images, "--output", "run")
    assert answer.code == 0
    assert "no image has an annotation: nothing can be scored" in answer.err
    assert "NO REFERENCE" in answer.out
    found = project / "run" / "predictions.json"
    assert f"predictions: {found.relative_to(project)}" in answer.out
    assert found.read_bytes() == (project / "known" / "predictions.json").read_bytes()
    assert json.loads(found.read_bytes())


@pytest.mark.parametrize("command", ["score", "analyze", "diagnose"])
def test_what_needs_annotations_says_that_there_are_none(
    harness: Callable[..., Answer],
    small_coco: Path,
    project: Path,
    images_alone: Path,
    command: str,
) -> None:
    images = ("--images", small_coco / "images", "--engine", "fake")
    assert harness("eval", "--annotations", images_alone, *images, "--output", "run").code == 0
    answer = harness(command, "run")
    assert answer.code == 4
    assert f"{images_alone.name} lists images and has no annotations" in answer.err


def test_they_teach_nothing(
    harness: Callable[..., Answer], small_coco: Path, project: Path, images_alone: Path
) -> None:
    images = small_coco / "images"
    learned = ("--train-annotations", images_alone, "--train-images", images)
    measured = ("--val-annotations", small_coco / "annotations.json", "--val-images", images)
    answer = harness("train", *learned, *measured, "--iterations", "1")
    assert answer.code in (2, 4)
    assert "has no object to learn from" in answer.err
