"""A network with a dense head: Detectron2's bits where exact, rounding where fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.core.architecture import Architecture
from harness.core.errors import UsageError
from harness.engines.native import NativeEngine, PreparedImage, open_native
from harness.engines.opening import require_network
from harness.engines.parity.comparison import compare_engines
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.engines.parity.rounding_cases import DenseCase
from harness.engines.stages import Stages, own_stages
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import architecture_of, tiny
from harness.zoo.seeded import amplifying_checkpoint, seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import pictures
from tests.golden.dense_losses import architecture


def small() -> Architecture:
    """The small network, with a level that has more candidates than it may keep."""
    return replace(architecture(), dense_candidates_per_level=60)


@pytest.fixture(scope="module")
def weights(seeded: Seeded) -> Path:
    return seeded(small())


def opened(weights: Path, *, exact: bool) -> NativeEngine:
    return open_native(architecture=small(), weights=weights, device="cpu", threads=1, exact=exact)


def proof(fast: NativeEngine, weights: Path) -> FastProof:
    truth = float64_network(small(), weights, torch.device("cpu"))
    return prove_fast(fast, opened(weights, exact=True), truth, pictures()[:1], case=DenseCase)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("checkpoint", [seeded_checkpoint, amplifying_checkpoint])
def test_exact_has_the_bits_of_detectron2(
    checkpoint: Callable[[Architecture], dict[str, object]], tmp_path: Path
) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2
    from harness.engines.parity.bits import prove_exact

    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, checkpoint(small()))
    reference = open_detectron2(architecture=small(), weights=path, device="cpu", threads=1)
    found = prove_exact(opened(path, exact=True), reference, pictures())
    assert found.ok, found.first_difference
    assert found.equal == found.detections > 20


def test_the_fast_path_differs_by_rounding_only(weights: Path) -> None:
    found = proof(opened(weights, exact=False), weights)
    assert found.ok, (found.stages, found.differences)
    assert found.detections > 20
    assert [stage.stage for stage in found.stages][-2:] == ["class logits", "box deltas"]
    assert any(stage.ours != stage.reference for stage in found.stages)


def test_a_fault_is_no_rounding(weights: Path) -> None:
    engine = opened(weights, exact=False)
    engine.network.backbone.top_block.p7.weight.mul_(1.0001)
    assert next(one.stage for one in proof(engine, weights).stages if not one.ok) == "p7"
    engine = opened(weights, exact=False)
    engine.network.head.architecture = replace(small(), box_nms_iou=0.3)
    found = proof(engine, weights)
    assert found.unexplained > 0
    assert all(stage.ok for stage in found.stages)


def test_a_batch_gives_what_single_images_give(weights: Path) -> None:
    engine = opened(weights, exact=False)
    prepared = [engine.prepare(one, NULL_STOPWATCH) for one in pictures()]
    together = engine.infer(prepared, NULL_STOPWATCH)
    for one, found in zip(prepared, together, strict=True):
        (alone,) = engine.infer([one], NULL_STOPWATCH)
        assert found.masks is None
        assert len(alone) == len(found)


def test_other_engines_say_that_they_do_not_know_it() -> None:
    dense = architecture_of("retinanet_R_50_FPN")
    for name in ("native", "detectron2", "onnx", "fake"):
        require_network(name, dense)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not know this network"):
        require_network("torchvision", dense)


def test_stages_of_a_dense_head_are_compared_also_with_a_network_of_another_kind(
    weights: Path, seeded: Seeded
) -> None:
    def stages_of(engine: NativeEngine) -> Callable[[PreparedImage], tuple[Stages, torch.Tensor]]:
        return lambda image: own_stages(engine, image)

    dense = opened(weights, exact=False)
    other = open_native(
        architecture=tiny(), weights=seeded(tiny()), device="cpu", threads=1, exact=False
    )
    images = pictures()[:1]
    found = compare_engines(dense, dense, images, reference_stages=stages_of(dense))
    assert all(row.ok for row in found.stages)
    assert found.stages[-1].stage == "pasted masks"
    for one, reference in ((dense, other), (other, dense)):
        found = compare_engines(one, reference, images, reference_stages=stages_of(reference))
        assert found.first_failing is not None
