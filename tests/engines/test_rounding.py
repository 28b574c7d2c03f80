"""A fast network is proven by its rounding, and a fault is found in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.engines.native import NativeEngine, open_native
from harness.engines.parity.rounding import FastProof, float64_network, prove_fast
from harness.engines.parity.tracing import APART, Measured, sigmoid_bars, softmax_bars
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


def test_a_class_that_gains_on_the_others_is_no_rounding(weights: Path) -> None:
    """Its stage shows what no detection can: a tenth of it is within the rounding of one logit."""
    engine = opened(weights, exact=False)
    bias = engine.network.roi_heads.box_predictor.cls_score.bias
    bias[0] += 1e-4
    assert [one.stage for one in proof(engine, weights).stages if not one.ok] == ["box logits"]
    bias[0] += 9e-4
    apart = [
        one
        for one in proof(engine, weights).differences
        if one.what == "numbers" and one.decision is None
    ]
    assert {one.class_index for one in apart} >= {0}


def logits(seed: int, *, off: float) -> tuple[Tensor, Tensor]:
    """(60, 9) logits in float32, of which one row in thirty is unsure, and in float64."""
    generator = torch.Generator().manual_seed(seed)
    true = 2 * torch.randn(60, 9, generator=generator, dtype=torch.float64)
    true[:, -1] += 12
    true[::30, -1] -= 12
    return (true + off * torch.randn(true.shape, generator=generator)).float(), true


def test_a_lucky_row_of_the_reference_makes_no_other_row_a_fault() -> None:
    """Its error in the one score that is unsure says less than the logits of all rows do."""
    beyond = 0
    for seed in range(20):
        theirs, true = logits(seed, off=1e-5)
        theirs[::30] = true[::30].float()  # the luck
        ours = true + (logits(seed + 100, off=1e-5)[0].double() - logits(seed + 100, off=0)[1])
        scores, exact, mine = (one.softmax(1)[:, :-1] for one in (theirs, true, ours))
        bars = softmax_bars(scores, [(theirs, true)], torch.ones(60, dtype=torch.bool), 0.05)
        assert bool(((mine - scores).abs() <= bars).all())
        beyond += float((mine - scores).abs().max()) > APART * float((scores - exact).abs().max())
        # What a class gains beyond rounding is seen in a row that is unsure.
        ours[30, 3] += 1e-3
        assert bool(((ours.softmax(1)[:, :-1] - scores).abs() > bars)[30, 3])
    assert beyond > 10  # of the scores' own errors


def test_all_logits_of_a_row_may_move_alike() -> None:
    theirs, true = logits(1, off=0.0)
    shifted = theirs.double() + 5e-4
    scores = shifted.softmax(1)[:, :-1]
    bars = softmax_bars(scores, [(shifted, true)], torch.ones(60, dtype=torch.bool), 0.05)
    assert float(bars.max()) < 1e-6


def test_a_sigmoid_moves_by_its_slope() -> None:
    true = torch.tensor([[-8.0, 0.0, 8.0]], dtype=torch.float64)
    logits = (true + torch.tensor([[1e-5, 0.0, 0.0]])).float()
    bars = sigmoid_bars(logits.sigmoid(), logits, true, 0.05)
    assert float(bars[0, 1]) == pytest.approx(APART * 1e-5 / 4, rel=0.2)
    assert float(bars[0].min()) < 2e-7


@pytest.mark.parametrize("gain", [60.0, 300.0, 5000.0])
def test_a_probability_of_one_may_lose_what_its_logit_does(gain: float) -> None:
    """Reduced precisions and weights that amplify rounding: 1 − p is below the last bit of p."""
    true = torch.zeros(1, 4, dtype=torch.float64)
    true[0, 0] = gain / 2  # p is 1 to the last bit, and 1 − p is not 0
    theirs = true.clone()
    theirs[0, 0] += gain / APART
    bars = softmax_bars(
        theirs.softmax(1)[:, :-1], [(theirs, true)], torch.ones(1, dtype=torch.bool), 0.05
    )
    assert bool(torch.isfinite(bars).all())
    lowest = theirs.clone()
    lowest[0, 0] -= gain
    assert float(lowest.softmax(1)[0, 0]) < 0.3
    assert float(bars[0, 0]) > 0.7
    assert float(sigmoid_bars(theirs.sigmoid(), theirs, true, 0.05)[0, 0]) > 0.7


def test_a_stage_of_which_one_has_nothing_is_not_compared() -> None:
    measured = Measured()
    some, none = (torch.ones(3), torch.ones(3) + 1e-6), (torch.ones(0), torch.ones(0))
    measured.add("masks", [some, none])
    assert measured.rows() == ()
    exact = (torch.ones(3), torch.ones(3))
    measured.add("masks", [some, exact])
    (row,) = measured.rows()
    assert row.ratio is None
    assert not row.ok
