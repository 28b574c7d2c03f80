"""The file that is written: standard operators, any size of image, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.synthetic import SHAPES
from harness.export.network import stage_names
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED
from harness.zoo.exported import is_as_exported, read_facts
from tests.conftest import Seeded

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")
pytest.importorskip("onnxscript", reason="needs the packages of the extra onnx")


def dimensions(value: onnx.ValueInfoProto) -> list[str | int]:
    return [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]


def test_it_has_standard_operators_only(exported_tiny: Path) -> None:
    model = onnx.load(exported_tiny)
    assert {node.domain for node in model.graph.node} == {""}
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    assert not model.functions
    onnx.checker.check_model(model, full_check=True)


def test_sizes_and_counts_are_free(exported_tiny: Path) -> None:
    graph = onnx.load(exported_tiny).graph
    assert {one.name: dimensions(one) for one in graph.input} == {"image": ["height", "width", 3]}
    assert {one.name: dimensions(one) for one in graph.output} == {
        "boxes": ["detections", 4],
        "scores": ["detections"],
        "classes": ["detections"],
        "finite": [],
        "masks": ["detections", 28, 28],
    }
    computed = {name for node in graph.node for name in node.output}
    assert computed >= set(stage_names(tiny()))


def test_it_says_what_it_is_and_nothing_of_the_machine(
    exported_tiny: Path, repository: Path
) -> None:
    facts = read_facts(exported_tiny)
    assert facts.model == "tiny"
    assert facts.architecture == tiny()
    assert facts.class_names == tuple(SHAPES.values())
    assert facts.checkpoint_pinned
    assert is_as_exported(exported_tiny, facts)
    content = exported_tiny.read_bytes()
    assert str(repository).encode() not in content
    assert b'File "' not in content
    # The weights are inside, once.
    weights = (EMBEDDED / "tiny.safetensors").stat().st_size
    assert weights < len(content) < 1.1 * weights


@pytest.mark.slow
def test_a_network_without_masks_has_none(tmp_path: Path, seeded: Seeded) -> None:
    from dataclasses import replace

    from harness.engines.exported import results_of
    from harness.engines.onnx import SessionNetwork, open_session
    from harness.export.onnx_file import write_onnx
    from harness.export.program import trace
    from tests.export.test_network import network_of, picture
    from tests.zoo.test_exported import facts

    network = network_of(replace(tiny(), has_masks=False), seeded)
    image = picture(100, 150)
    with torch.inference_mode():
        answer = network(network.batch([image.permute(2, 0, 1)]))
    (expected,) = answer.detections
    assert answer.masks is None
    path = tmp_path / "boxes.onnx"
    write_onnx(
        trace(network),
        results_of(network.architecture),
        path,
        stages=stage_names(network.architecture),
        opset=20,
        facts=lambda *_: facts(),
    )
    session = open_session(path, torch.device("cpu"), threads=1)
    found = SessionNetwork(session).values(image.numpy())
    assert found.keys() == {"boxes", "scores", "classes", "finite"}
    assert len(found["scores"]) > 10
    np.testing.assert_allclose(found["boxes"], expected.boxes.numpy(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(found["scores"], expected.scores.numpy(), rtol=0, atol=1e-5)
    assert found["classes"].tolist() == expected.classes.tolist()
