"""Networks that only propose regions: Detectron2's bits where exact, rounding where fast."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.core.architecture import Architecture
from harness.core.errors import UsageError
from harness.engines.loading import require_classes
from harness.engines.native import open_native
from harness.engines.opening import require_network
from harness.engines.rounding import float64_network, prove_fast
from harness.engines.rounding_cases import ProposalCase
from harness.zoo.architectures import architecture_of, tiny
from tests.conftest import Seeded
from tests.golden.cases import pictures


def pyramid() -> Architecture:
    return replace(tiny(), detector="rpn", has_masks=False)


def single_map() -> Architecture:
    return replace(pyramid(), neck="c4", rpn_pre_nms_per_level=2000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", [pyramid(), single_map()], ids=["fpn", "c4"])
def test_both_arithmetics(architecture: Architecture, seeded: Seeded) -> None:
    weights = seeded(architecture)
    opened = {"architecture": architecture, "weights": weights, "device": "cpu", "threads": 1}
    exact = open_native(**opened, exact=True)  # type: ignore[arg-type]
    fast = open_native(**opened)  # type: ignore[arg-type]
    truth = float64_network(architecture, weights, torch.device("cpu"))
    proof = prove_fast(fast, exact, truth, pictures()[:1], case=ProposalCase)
    assert proof.ok, (proof.stages, proof.differences)
    assert proof.detections > 50
    fast.network.proposal_generator.nms_iou = 0.5
    assert not prove_fast(fast, exact, truth, pictures()[:1], case=ProposalCase).ok

    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.bits import prove_exact
    from harness.engines.detectron2 import open_detectron2

    reference = open_detectron2(**opened)  # type: ignore[arg-type]
    bits = prove_exact(exact, reference, pictures())
    assert bits.ok, bits.first_difference
    assert bits.equal == bits.detections > 100


def test_it_is_measured_by_recall_and_finds_no_class() -> None:
    network = architecture_of("rpn_R_50_FPN")
    assert network.tasks == ("box_proposals",)
    with pytest.raises(UsageError, match="does not say what is in them"):
        require_classes(network)
    with pytest.raises(UsageError, match="one that only proposes regions"):
        require_network("onnx", network)
