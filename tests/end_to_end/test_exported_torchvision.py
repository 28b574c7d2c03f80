"""A detector of torchvision with weights of one's own, as a file: in parity, and with its AP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.progress import Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.requests.zoo import ExportRequest
from harness.data.synthetic import generate
from harness.workflows.evaluation.resolve import resolve
from harness.workflows.export import export
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.composing import composed
from tests.end_to_end.conftest import Answer

LIGHT = "fasterrcnn_mobilenet_v3_large_fpn"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_own_weights_as_a_file(
    kind: str, tmp_path: Path, harness: Callable[..., Answer], project: Path
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")
        pytest.importorskip("onnxscript", reason="needs the packages of the extra onnx")
    scenes = generate("synthetic_val", tmp_path)
    annotations, images = scenes / "annotations.json", scenes / "images"
    count = len(json.loads(annotations.read_text("utf-8"))["categories"])
    weights, output = tmp_path / "own.safetensors", tmp_path / f"own.{kind}"
    write_checkpoint(weights, seeded_checkpoint(replace(architecture_of(LIGHT), class_count=count)))
    request = composed(
        ExportRequest,
        model=f"torchvision_{LIGHT}",
        weights=weights,
        annotations=annotations,
        images=images,
        output=output,
        limit=2,
        threads=1,
    )
    found = export(request, progress=Silent())
    assert found.parity.first_failing is None
    assert found.parity.agreement.detections > 20
    assert found.format == kind
    words = ["--model", f"torchvision_{LIGHT}", "--annotations", annotations]
    words += ["--images", images, "--threads", "1", "--limit", "3"]
    files = {"torchvision": weights, kind: output}
    aps = []
    for engine, file in files.items():
        answer = harness(
            "eval", *words, "--engine", engine, "--weights", file, "--output", project / engine
        )
        assert answer.code == 0, answer.err
        record = json.loads((project / engine / "record.json").read_text("utf-8"))
        assert record["engine"]["name"] == engine
        aps.append(record["metrics"]["bbox/AP"])
    assert aps[0] == pytest.approx(aps[1], abs=0.05)
    job = resolve(
        composed(
            InferenceRequest,
            model=f"torchvision_{LIGHT}",
            engine=kind,
            weights=output,
            annotations=annotations,
            images=images,
        )
    )
    assert job.resolved["exported"]["model"] == f"torchvision_{LIGHT}"
