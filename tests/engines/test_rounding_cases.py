"""Proposals of a file, and networks that only propose regions: the same bits, or rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.core.errors import RunFailedError, UsageError
from harness.data.proposals import resized_proposals
from harness.engines.loading import require_classes
from harness.engines.native import NativeEngine, open_native
from harness.engines.opening import require_network
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.engines.parity.rounding_cases import GivenCase, ProposalCase
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.slots import lacking_in_slots
from harness.zoo.architectures import architecture_of, tiny
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import pictures, pictures_for
from tests.golden.families import narrow

NETWORK = narrow("fast_rcnn_R_50_FPN")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("given") / "weights.safetensors"
    write_checkpoint(path, seeded_checkpoint(NETWORK))
    return path


def opened(weights: Path, *, exact: bool = False) -> NativeEngine:
    return open_native(architecture=NETWORK, weights=weights, device="cpu", threads=1, exact=exact)


def proof(fast: NativeEngine, weights: Path) -> FastProof:
    truth = float64_network(NETWORK, weights, torch.device("cpu"))
    exact = opened(weights, exact=True)
    return prove_fast(fast, exact, truth, pictures_for(NETWORK)[:1], case=GivenCase)


def test_the_fast_path_differs_by_rounding_only(weights: Path) -> None:
    fast = opened(weights)
    found = proof(fast, weights)
    assert found.ok, (found.stages, found.differences)
    assert found.detections >= 10
    assert [one.stage for one in found.stages] == [
        *("p2", "p3", "p4", "p5", "p6", "box logits", "box deltas")
    ]
    fast.network.roi_heads.box_predictor.cls_score.bias.add_(0.01)
    assert not proof(fast, weights).ok


def test_only_the_best_that_are_not_empty_are_taken() -> None:
    boxes = np.array(
        [[-9, -9, -1, -1], [30, 5, 10, 25], [90, 40, 200, 60], [0, 0, 50, 50]], dtype=np.float32
    )
    image = Image(
        image_id=3, pixels_bgr=np.zeros((50, 100, 3), dtype=np.uint8), proposals_xyxy_px=boxes
    )
    found = resized_proposals(image, (100, 200), replace(NETWORK, rpn_post_nms=2))
    assert found is not None
    np.testing.assert_array_equal(found, [[20, 10, 60, 50], [180, 80, 200, 100]])
    with pytest.raises(RunFailedError, match="image 3 came without region proposals"):
        resized_proposals(replace(image, proposals_xyxy_px=None), (100, 200), NETWORK)


@pytest.mark.parametrize("boxes", [np.zeros((0, 4)), np.array([[-5.0, -5.0, -1.0, -1.0]])])
def test_an_image_whose_proposals_are_empty_has_no_detections(
    weights: Path, boxes: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    engine = opened(weights)
    one, other = pictures_for(NETWORK)
    batch: Sequence[Image] = [replace(one, proposals_xyxy_px=boxes), other]
    first, second = engine.infer(
        [engine.prepare(each, NULL_STOPWATCH) for each in batch], NULL_STOPWATCH
    )
    assert len(first) == 0
    assert len(second) > 5


def test_what_needs_no_data_set_says_why_it_refuses() -> None:
    network = architecture_of("fast_rcnn_R_50_FPN")
    with pytest.raises(UsageError, match="from a file"):
        require_classes(network)
    require_network("onnx", network)  # its file takes the proposals as a second input
    assert lacking_in_slots(network) == "proposals from a file"


def pyramid() -> Architecture:
    return replace(tiny(), detector="rpn", has_masks=False)


def single_map() -> Architecture:
    return replace(pyramid(), neck="c4", rpn_pre_nms_per_level=2000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(pyramid(), id="fpn"),
        pytest.param(single_map(), id="c4", marks=pytest.mark.slow),
    ],
)
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
    from harness.engines.detectron2 import open_detectron2
    from harness.engines.parity.bits import prove_exact

    reference = open_detectron2(**opened)  # type: ignore[arg-type]
    bits = prove_exact(exact, reference, pictures())
    assert bits.ok, bits.first_difference
    assert bits.equal == bits.detections > 100


def test_it_is_measured_by_recall_and_finds_no_class() -> None:
    network = architecture_of("rpn_R_50_FPN")
    assert network.tasks == ("box_proposals",)
    with pytest.raises(UsageError, match="does not say what is in them"):
        require_classes(network)
    require_network("onnx", network)
    with pytest.raises(UsageError, match="it is Detectron2's"):
        require_network("torchvision", network)
