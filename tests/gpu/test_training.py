"""A training step on a GPU. Run with ``make test-gpu``; elsewhere each test is skipped."""

from __future__ import annotations

import warnings

import pytest
import torch

from harness.nn.rcnn import RCNN
from harness.nn.slot_regions import SlotProposals
from harness.nn.targets import TrainingNumbers
from harness.training.samples import Sample
from harness.training.setup import region_operators
from harness.training.step import Trainer, run_iteration
from harness.zoo.architectures import tiny
from tests.golden.losses import EVERYTHING, samples
from tests.training.steps import NUMBERS, trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]

#: Arrays of an image that are uploaded, from memory that is not pinned: each is a wait.
MOST_UPLOADS = 6


def on(name: str, numbers: TrainingNumbers = NUMBERS) -> Trainer:
    """A trainer on a device, with the kernels that it has there."""
    notes: list[str] = []
    device = torch.device(name)
    operators = region_operators(tiny(), numbers, device, notes)
    assert notes == []
    return trainer(device, operators, numbers)


def test_proposals_in_slots_are_those_of_one_image_after_the_other() -> None:
    state = on("cuda")
    network = state.network
    assert isinstance(network, RCNN)
    assert state.operators is not None
    images = [torch.from_numpy(one.pixels).cuda().permute(2, 0, 1) for one in samples()]
    batch = network.batch(images)
    rpn = network.proposal_generator
    with torch.no_grad():
        pyramid = network.backbone(batch.pixels)
        logits, deltas = rpn.rpn_head(pyramid)
        limits = {"pre_nms_per_level": 2000, "post_nms": 300}
        one_by_one = rpn.select(logits, deltas, rpn.anchors(pyramid), batch.sizes, **limits)
        sizes = torch.tensor(batch.sizes, dtype=torch.float32, device="cuda")
        boxes, counts = SlotProposals(rpn, state.operators)(
            logits, deltas, pyramid, sizes, **limits
        )
    for found, count, expected in zip(boxes, counts.tolist(), one_by_one, strict=True):
        assert torch.equal(found[:count], expected)


def waits(state: Trainer, drawn: list[Sample]) -> int:
    """How often an iteration waits for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run_iteration(state, drawn)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(one.message) for one in caught)


def test_an_iteration_waits_as_often_for_a_batch_as_for_an_image() -> None:
    state = on("cuda")
    both = list(samples())
    for drawn in (both, both[:1]):  # constants are made, kernels compiled
        run_iteration(state, drawn)
    assert waits(state, both) - waits(state, both[:1]) <= MOST_UPLOADS


def test_an_iteration_has_the_losses_of_a_cpu() -> None:
    # All anchors and regions are trained on: generators of a GPU and of a CPU draw others.
    found, expected = (
        run_iteration(on(name, EVERYTHING), list(samples())) for name in ("cuda", "cpu")
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-4), name
