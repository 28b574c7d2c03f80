"""The engine of exported files answers as the native engine does, and refuses what it has not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.detections import Image
from harness.core.errors import IntegrityError, PrerequisiteError, RunFailedError, UsageError
from harness.core.requests.inference import EngineOptions
from harness.engines.exported import ExportedEngine
from harness.engines.native import NativeEngine, PreparedImage, open_native
from harness.engines.onnx import open_onnx, require_onnx_settings
from harness.engines.opening import default_batch_sizes, require_settings, worker_devices
from harness.files.extras import install_command
from harness.measure.agreement import EXPORTED_MASK_SLACK_PX, compare
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED
from tests.golden.cases import pictures

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")

#: (height, width) of images as they reach the network, none of them the one that was traced: even
#: and odd numbers of cells in the smallest level, single cells, and less than one.
SIZES = (
    *((288, 384), (384, 288), (256, 320), (288, 288)),
    *((32, 32), (31, 65), (16, 400), (400, 16), (1, 1)),
)


@pytest.fixture(scope="module")
def native() -> NativeEngine:
    weights = EMBEDDED / "tiny.safetensors"
    return open_native(architecture=tiny(), weights=weights, device="cpu", threads=1)


@pytest.fixture
def engine(exported_tiny: Path) -> Iterator[ExportedEngine]:
    opened = open_onnx(architecture=tiny(), weights=exported_tiny, device="cpu", threads=1)
    yield opened
    opened.close()


def test_it_answers_what_the_native_engine_answers(
    engine: ExportedEngine, native: NativeEngine
) -> None:
    prepared = [engine.prepare(picture, NULL_STOPWATCH) for picture in pictures()]
    answers = engine.infer(prepared, NULL_STOPWATCH)
    for one, found in zip(prepared, answers, strict=True):
        expected = native.infer([one], NULL_STOPWATCH)[0]
        assert found.image_id == expected.image_id
        assert len(expected) >= 3
        assert (
            compare(found, expected, mask_slack_px=EXPORTED_MASK_SLACK_PX).share_within_bars == 1.0
        )


@pytest.mark.parametrize("size", SIZES)
def test_images_of_any_shape(
    engine: ExportedEngine, native: NativeEngine, size: tuple[int, int]
) -> None:
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = PreparedImage(1, noise, *size)
    found = engine.infer([image], NULL_STOPWATCH)[0]
    expected = native.infer([image], NULL_STOPWATCH)[0]
    assert len(expected) > 50 or size != (288, 384)
    assert compare(found, expected, mask_slack_px=EXPORTED_MASK_SLACK_PX).share_within_bars == 1.0


def test_an_image_without_detections(engine: ExportedEngine) -> None:
    grey = Image(image_id=5, pixels_bgr=np.full((240, 320, 3), 128, dtype=np.uint8))
    found = engine.infer([engine.prepare(grey, NULL_STOPWATCH)], NULL_STOPWATCH)[0]
    assert len(found) == 0
    assert found.boxes_xyxy_px.shape == (0, 4)
    assert found.masks == ()


def test_output_that_is_not_finite_is_an_error_and_no_empty_image(
    exported_tiny: Path, tmp_path: Path
) -> None:
    model = onnx.load(exported_tiny)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("cls_score.weight"):
            values = onnx.numpy_helper.to_array(tensor)
            tensor.raw_data = np.full_like(values, 3e38).tobytes()
    onnx.save(model, tmp_path / "bad.onnx")
    bad = open_onnx(architecture=tiny(), weights=tmp_path / "bad.onnx", device="cpu", threads=1)
    prepared = bad.prepare(pictures()[0], NULL_STOPWATCH)
    with pytest.raises(RunFailedError, match=r"image 1: .*not finite"):
        bad.infer([prepared], NULL_STOPWATCH)


def test_another_recipe_than_the_files_is_refused(exported_tiny: Path) -> None:
    asked = replace(tiny(), score_threshold=0.5)
    with pytest.raises(IntegrityError, match=r"score_threshold: asked 0\.5, in the file 0\.05"):
        open_onnx(architecture=asked, weights=exported_tiny, device="cpu")


def test_a_file_that_onnxruntime_cannot_open_is_named(exported_tiny: Path, tmp_path: Path) -> None:
    model = onnx.load(exported_tiny)
    model.graph.node[0].op_type = "NoSuchOperator"
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(IntegrityError, match=r"cannot open .*odd\.onnx"):
        open_onnx(architecture=tiny(), weights=path, device="cpu", threads=1)


def test_settings_it_does_not_have() -> None:
    with pytest.raises(UsageError, match="computes in fp32, not in bf16"):
        require_onnx_settings("cpu", "bf16")
    with pytest.raises(UsageError, match="onnx engine computes on contiguous feature maps"):
        require_settings("onnx", EngineOptions(device="cpu", memory_format="channels_last"))
    with pytest.raises(UsageError, match="onnx engine is not compiled"):
        require_settings("onnx", EngineOptions(device="cpu", compile=True))
    assert default_batch_sizes("onnx", "cpu") == (1,)
    assert worker_devices("onnx", "cpu", 2) == ["cpu", "cpu"]


def test_without_onnxruntime_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PrerequisiteError, match=re.escape(install_command("onnx"))):
        require_onnx_settings("cpu", "fp32")
