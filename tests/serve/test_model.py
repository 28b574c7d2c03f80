"""Which model is served, and what its classes are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError, UsageError
from harness.core.requests.loading import ServeRequest
from harness.serve.server import find_served
from tests.composing import composed
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
    served = find_served(composed(ServeRequest, model="R_50_FPN_3x", weights=weights))
    assert [one.name for one in served.categories][:3] == ["person", "bicycle", "car"]
    assert not served.file.checkpoint.pinned


def test_weights_of_a_training_bring_their_categories(weights: Path, small_coco: Path) -> None:
    left_by("train", weights, small_coco / "annotations.json")
    served = find_served(composed(ServeRequest, model="R_50_FPN_3x", weights=weights))
    assert tuple(one.category_id for one in served.categories) == SMALL_CATEGORIES
    assert served.architecture.class_count == len(SMALL_CATEGORIES)


def test_the_file_that_is_given_goes_before(weights: Path, small_coco: Path) -> None:
    left_by("train", weights, weights.parent / "gone.json")
    annotations = small_coco / "annotations.json"
    asked = composed(ServeRequest, model="R_50_FPN_3x", weights=weights, annotations=annotations)
    assert len(find_served(asked).categories) == len(SMALL_CATEGORIES)


@pytest.mark.parametrize("kind", ["eval", "train"])
def test_other_runs_and_lost_files_teach_nothing(weights: Path, kind: str) -> None:
    left_by(kind, weights, weights.parent / "gone.json")
    served = find_served(composed(ServeRequest, model="R_50_FPN_3x", weights=weights))
    assert len(served.categories) == 80


def test_categories_of_another_number_than_the_pinned_weights(small_coco: Path) -> None:
    content = json.loads((small_coco / "annotations.json").read_text("utf-8"))
    content["categories"].append({"id": 99, "name": "one too many"})
    path = small_coco / "more.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"tiny knows 8 classes.*more\.json lists 9"):
        find_served(composed(ServeRequest, annotations=path))


@pytest.mark.parametrize(
    ("model", "engine"),
    [
        ("R_50_FPN_3x", "native"),
        ("MobileNetV2_FPNLite_3x", "native"),
        ("torchvision_maskrcnn_resnet50_fpn", "torchvision"),
    ],
)
def test_a_model_is_served_by_its_own_engine(weights: Path, model: str, engine: str) -> None:
    assert find_served(composed(ServeRequest, model=model, weights=weights)).engine == engine


def test_an_exported_file_is_proven_and_served(exported_tiny: Path, weights: Path) -> None:
    served = find_served(composed(ServeRequest, engine="onnx", weights=exported_tiny))
    assert (served.engine, served.file.path) == ("onnx", exported_tiny)
    assert served.file.checkpoint.pinned
    with pytest.raises(IntegrityError, match="not an ONNX file of harness"):
        find_served(composed(ServeRequest, engine="onnx", weights=weights))


def test_the_exported_file_is_found_where_export_writes_it(
    exported_tiny: Path, tmp_path: Path
) -> None:
    path = tmp_path / "exported" / "tiny.onnx"
    path.parent.mkdir()
    shutil.copy(exported_tiny, path)
    assert find_served(composed(ServeRequest, engine="onnx", root=tmp_path)).file.path == path


def test_an_engine_that_cannot_serve_this_is_refused_at_once(weights: Path) -> None:
    name = "torchvision_maskrcnn_resnet50_fpn"
    with pytest.raises(UsageError, match="the native engine does not know this network"):
        find_served(composed(ServeRequest, model=name, engine="native", weights=weights))
    with pytest.raises(UsageError, match="fake engine returns the ground truth"):
        find_served(composed(ServeRequest, engine="fake"))
