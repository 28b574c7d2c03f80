"""The engine of exported files answers as the native engine does, and refuses what it has not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import IntegrityError, PrerequisiteError, RunFailedError, UsageError
from harness.core.requests.inference import EngineOptions
from harness.engines.onnx import open_onnx, require_onnx_settings
from harness.engines.opening import default_batch_sizes, require_settings, worker_devices
from harness.files.extras import install_command
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from tests.golden.cases import pictures

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")


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
