"""Which model is served, and what its classes are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError
from harness.core.requests.serving import ServeRequest
from harness.serve.model import find_served
from tests.conftest import SMALL_CATEGORIES


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not read here")
    return path


def left_by(kind: str, weights: Path, annotations: Path) -> None:
    run: dict[str, Any] = {"kind": kind, "dataset": {"annotations_path": str(annotations)}}
    (weights.parent / "run.json").write_text(json.dumps(run), encoding="utf-8")


def test_a_zoo_model_knows_its_categories_by_heart(weights: Path) -> None:
    served = find_served(ServeRequest(model="R_50_FPN_3x", weights=weights))
    assert [one.name for one in served.categories][:3] == ["person", "bicycle", "car"]
    assert not served.checkpoint.pinned


def test_weights_of_a_training_bring_their_categories(weights: Path, small_coco: Path) -> None:
    left_by("train", weights, small_coco / "annotations.json")
    served = find_served(ServeRequest(model="R_50_FPN_3x", weights=weights))
    assert tuple(one.category_id for one in served.categories) == SMALL_CATEGORIES
    assert served.architecture.class_count == len(SMALL_CATEGORIES)


def test_the_file_that_is_given_goes_before(weights: Path, small_coco: Path) -> None:
    left_by("train", weights, weights.parent / "gone.json")
    annotations = small_coco / "annotations.json"
    asked = ServeRequest(model="R_50_FPN_3x", weights=weights, annotations=annotations)
    assert len(find_served(asked).categories) == len(SMALL_CATEGORIES)


@pytest.mark.parametrize("kind", ["eval", "train"])
def test_other_runs_and_lost_files_teach_nothing(weights: Path, kind: str) -> None:
    left_by(kind, weights, weights.parent / "gone.json")
    served = find_served(ServeRequest(model="R_50_FPN_3x", weights=weights))
    assert len(served.categories) == 80


def test_categories_of_another_number_than_the_pinned_weights(small_coco: Path) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    content["categories"].append({"id": 99, "name": "one too many"})
    path = small_coco / "more.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"tiny knows 8 classes.*more\.json lists 9"):
        find_served(ServeRequest(annotations=path))
