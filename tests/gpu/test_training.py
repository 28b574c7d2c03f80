"""A training step on a GPU. Run with ``make test-gpu``; elsewhere each test is skipped."""

from __future__ import annotations

import warnings

import pytest
import torch

from harness.core.requests.training import TrainRequest
from harness.core.settings import replaced
from harness.nn.rcnn import RCNN
from harness.nn.slot_regions import SlotProposals
from harness.nn.targets import TrainingNumbers
from harness.training.placement import place, region_operators
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.samples import Sample
from harness.training.step import Trainer, run_iteration
from harness.zoo.architectures import tiny
from tests.golden.losses import EVERYTHING, samples, seeded_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]

NUMBERS = TrainingNumbers(rpn_post_nms=300, anchors_per_image=64, rois_per_image=96)
SCHEDULE = Schedule(
    iterations=9, batch_size=2, learning_rate=1e-4, steps=(), warmup=1, checkpoint_period=9
)

#: Arrays of an image that are uploaded, from memory that is not pinned: each is a wait.
MOST_UPLOADS = 6


def trainer(device: torch.device, numbers: TrainingNumbers = NUMBERS) -> Trainer:
    network = RCNN(tiny())
    network.load_state_dict(seeded_weights(tiny()))
    place(network, device, "fp32", frozen=2)
    notes: list[str] = []
    operators = region_operators(tiny(), numbers, device, notes)
    assert notes == []
    return Trainer(
        network=network,
        config=replaced(TrainRequest(), precision="fp32"),
        schedule=SCHEDULE,
        numbers=numbers,
        device=device,
        world=World(),
        average=None,
        operators=operators,
    )


def test_proposals_in_slots_are_those_of_one_image_after_the_other() -> None:
    state = trainer(torch.device("cuda"))
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
    state = trainer(torch.device("cuda"))
    both = list(samples())
    for drawn in (both, both[:1]):  # constants are made, kernels compiled
        run_iteration(state, drawn)
    assert waits(state, both) - waits(state, both[:1]) <= MOST_UPLOADS


def test_an_iteration_has_the_losses_of_a_cpu() -> None:
    # All anchors and regions are trained on: generators of a GPU and of a CPU draw others.
    found, expected = (
        run_iteration(trainer(torch.device(name), EVERYTHING), list(samples()))
        for name in ("cuda", "cpu")
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-4), name
