"""The example of docs/export.md runs as it stands, and finds what the native engine finds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.detections import Image as Picture
from harness.engines.native import open_native
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED
from tests.golden.cases import pictures

pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")


def test_the_example_finds_what_the_engine_finds(
    exported_tiny: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (repository / "docs" / "export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "onnxruntime.InferenceSession" in block]
    pixels_bgr = pictures()[0].pixels_bgr
    shutil.copy(exported_tiny, tmp_path / "model.onnx")
    # A PNG under the example's name: a JPEG would change the pixels.
    Image.fromarray(pixels_bgr[:, :, ::-1]).save(tmp_path / "photo.jpg", format="PNG")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, "docs/export.md", "exec"), found)
    weights = EMBEDDED / "tiny.safetensors"
    engine = open_native(architecture=tiny(), weights=weights, device="cpu", threads=1)
    image = Picture(image_id=1, pixels_bgr=pixels_bgr)
    expected = engine.infer([engine.prepare(image, NULL_STOPWATCH)], NULL_STOPWATCH)[0]
    assert len(expected) >= 3
    np.testing.assert_allclose(found["boxes"], expected.boxes_xyxy_px, atol=1e-3)
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-5)
    assert len(capsys.readouterr().out.splitlines()) == len(expected)
