"""A model of one's own, served: by its run and classes, with its own images and its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import requests

from harness.core.errors import UsageError
from harness.serve.examples import EXAMPLES, find_report, own_examples
from harness.zoo.checkpoints import EMBEDDED
from tests.serve.conftest import Scripted


def test_examples_are_the_images_with_most_objects(small_coco: Path) -> None:
    images, file = small_coco / "images", small_coco / "annotations.json"
    found = own_examples(images, file)
    content = json.loads(file.read_text("utf-8"))
    counts = [
        sum(row["image_id"] == image["id"] for row in content["annotations"])
        for path in found
        for image in content["images"]
        if images / image["file_name"] == path
    ]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) > 0
    assert len(own_examples(images, None)) == min(EXAMPLES, len(list(images.iterdir())))
    with pytest.raises(UsageError, match="no such folder"):
        own_examples(images / "absent", None)


def test_a_model_of_ones_own_has_its_name_and_its_report(
    tmp_path: Path, scripted: Scripted
) -> None:
    run = tmp_path / "pets"
    run.mkdir()
    weights = run / "model_best.safetensors"
    shutil.copy(EMBEDDED / "tiny.safetensors", weights)
    assert find_report(weights) is None
    (run / "report.html").write_text("<p>how it went</p>", encoding="utf-8")
    assert find_report(weights) == run / "report.html"
    url, engine = scripted(weights=weights)
    engine.service.report = find_report(weights)
    info = requests.get(f"{url}/info", timeout=60).json()
    assert info["title"].startswith("model_best.safetensors: circle, square, ")
    assert info["title"].endswith(" more (tiny)")  # not what the published weights were trained on
    page = requests.get(f"{url}/{info['report']}", timeout=60)
    assert page.text == "<p>how it went</p>"
    engine.service.report = None
    assert requests.get(f"{url}/report", timeout=60).status_code == 404
