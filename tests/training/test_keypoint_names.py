"""Detectron2's trainer gets one list of keypoints, and only where it flips all objects rightly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.data.coco import read_dataset
from harness.data.objects import training_set
from harness.training.detectron2 import _keypoint_metadata
from harness.training.setup import Setup
from tests.data.test_named_keypoints import NAMES, POINTS, content
from tests.training.test_families import NETWORKS, setup_of


def setup(folder: Path, **car: object) -> Setup:
    """Of two categories, whose names of keypoints differ; ``car`` is more of the first."""
    given = content(keypoints=NAMES)
    given["categories"][0] |= car
    if car:
        given["annotations"][0]["keypoints"] = list(POINTS)
    path = folder / "given.json"
    path.write_text(json.dumps(given), "utf-8")
    data = training_set(read_dataset(path, folder), with_masks=False, with_keypoints=True)
    return replace(setup_of(NETWORKS["keypoint_rcnn"], folder, "fp32"), training=data)


def test_names_are_those_of_the_category_that_has_keypoints(tmp_path: Path) -> None:
    assert _keypoint_metadata(setup(tmp_path)) == {
        "keypoint_names": NAMES,
        "keypoint_flip_map": [("left_eye", "right_eye")],
    }


def test_categories_that_are_flipped_differently_are_refused(tmp_path: Path) -> None:
    odd = setup(tmp_path, keypoints=["nose", "left_lamp", "right_lamp"])
    with pytest.raises(UsageError, match="those of car, person change places differently"):
        _keypoint_metadata(odd)
