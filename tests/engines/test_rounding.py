"""A fast network is proven by its rounding, and a fault is found in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.engines.native import NativeEngine, open_native
from harness.engines.rounding import FastProof, float64_network, prove_fast
from harness.zoo.architectures import tiny
from harness.zoo.seeded import amplifying_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import pictures

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(seeded: Seeded) -> Path:
    return seeded(tiny())


def opened(weights: Path, *, exact: bool) -> NativeEngine:
    return open_native(architecture=tiny(), weights=weights, device="cpu", threads=1, exact=exact)


def proof(fast: NativeEngine, weights: Path) -> FastProof:
    truth = float64_network(tiny(), weights, CPU)
    return prove_fast(fast, opened(weights, exact=True), truth, pictures()[:1])


def test_the_fast_path_is_as_near_to_float64_as_the_reference(weights: Path) -> None:
    found = proof(opened(weights, exact=False), weights)
    assert found.ok, (found.stages, found.differences)
    assert found.detections > 20
    assert {stage.stage for stage in found.stages} >= {"p2", "p6", "rpn logits", "box deltas"}
    assert all(0 < stage.reference < 1e-4 for stage in found.stages)
    assert any(stage.ours != stage.reference for stage in found.stages)


def test_weights_that_amplify_rounding_are_held_to_their_own_rounding(tmp_path: Path) -> None:
    path = tmp_path / "amplifying.safetensors"
    write_checkpoint(path, amplifying_checkpoint(tiny(), gain=100.0))
    found = proof(opened(path, exact=False), path)
    assert found.ok, (found.stages, found.differences)


def test_an_exact_engine_differs_in_nothing(weights: Path) -> None:
    found = proof(opened(weights, exact=True), weights)
    assert found.differences == ()
    assert {stage.ratio for stage in found.stages} == {1.0}


def test_a_weight_that_is_off_is_no_rounding(weights: Path) -> None:
    engine = opened(weights, exact=False)
    engine.network.backbone.fpn_output3.weight.mul_(1.0001)
    found = proof(engine, weights)
    assert not found.ok
    assert next(stage.stage for stage in found.stages if not stage.ok) == "p3"


def test_a_wrong_threshold_is_a_difference_without_a_decision(weights: Path) -> None:
    engine = opened(weights, exact=False)
    engine.network.proposal_generator.nms_iou = 0.5
    found = proof(engine, weights)
    assert found.unexplained > 0
    assert all(stage.ok for stage in found.stages if stage.stage.startswith(("p", "rpn")))
