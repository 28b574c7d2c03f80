"""What a training step learns from: the same of a batch as of its images one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.nn import operators
from harness.nn.losses import losses
from harness.nn.rcnn import RCNN, Batch
from harness.nn.sampling import IGNORED, NEGATIVE, POSITIVE, draw
from harness.nn.slot_regions import SlotProposals
from harness.nn.targets import Losses, Targets, TrainingNumbers
from harness.training.samples import Sample
from harness.zoo.architectures import tiny
from tests.golden.losses import samples, seeded_weights, targets_of
from tests.nn.plain_operators import PlainOperators

NUMBERS = TrainingNumbers(rpn_post_nms=300, anchors_per_image=64, rois_per_image=96)


def labels_of(*images: tuple[int, int, int]) -> list[Tensor]:
    """Labels of images with so many positive, negative and ignored candidates, shuffled."""
    chance = torch.Generator().manual_seed(3)
    found = []
    for counts in images:
        kinds = torch.tensor([POSITIVE, NEGATIVE, IGNORED], dtype=torch.int8)
        labels = kinds.repeat_interleave(torch.tensor(counts))
        found.append(labels[torch.randperm(len(labels), generator=chance)])
    return found


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def test_a_batch_draws_what_its_images_draw_alone() -> None:
    labels = labels_of((40, 100, 9), (0, 30, 0), (3, 0, 5), (0, 0, 4), (9, 500, 50))
    asked: dict[str, Any] = {"budget": 32, "positive_share": 0.25}
    together = draw(labels, generators(len(labels)), **asked)
    for own, generator, drawn in zip(labels, generators(len(labels)), together, strict=True):
        (alone,) = draw([own], [generator], **asked)
        assert torch.equal(drawn.positive, alone.positive)
        assert torch.equal(drawn.negative, alone.negative)


def test_what_is_drawn_is_of_its_kind_and_within_the_budget() -> None:
    labels = labels_of((40, 100, 9), (5, 10, 3), (0, 0, 4))
    drawn = draw(labels, generators(3), budget=32, positive_share=0.25)
    for own, (positive, negative) in zip(labels, drawn, strict=True):
        assert bool((own[positive] == POSITIVE).all())
        assert bool((own[negative] == NEGATIVE).all())
        assert len(positive.unique()) == len(positive)
        assert len(negative.unique()) == len(negative)
    assert [(len(one.positive), len(one.negative)) for one in drawn] == [(8, 24), (5, 10), (0, 0)]


@pytest.fixture(scope="module")
def network() -> RCNN:
    found = RCNN(tiny())
    found.load_state_dict(seeded_weights(tiny()))
    return found.train()


def batch_of(network: RCNN, drawn: Sequence[Sample]) -> tuple[Batch, list[Targets]]:
    pixels = [torch.from_numpy(one.pixels).permute(2, 0, 1) for one in drawn]
    return network.batch(pixels), targets_of(drawn)


def losses_of(network: RCNN, drawn: Sequence[Sample], in_slots: SlotProposals | None) -> Losses:
    network.zero_grad()
    found, statistics = losses(network, *batch_of(network, drawn), NUMBERS, in_slots=in_slots)
    torch.stack(list(found.values())).sum().backward()
    return found, statistics


def test_proposals_in_slots_change_no_bit_of_losses_and_gradients(
    network: RCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A GPU suppresses all levels in one call, as slots do; a CPU only where there are few boxes.
    monkeypatch.setattr(operators, "ONE_CALL_CPU", operators.ONE_CALL_ELSEWHERE)
    one_by_one = losses_of(network, samples(), None)
    gradients = [None if one.grad is None else one.grad.clone() for one in network.parameters()]
    in_slots = SlotProposals(network.proposal_generator, PlainOperators())
    at_once = losses_of(network, samples(), in_slots)
    for ours, expected in zip(at_once, one_by_one, strict=True):
        assert {name: one.item() for name, one in ours.items()} == {
            name: one.item() for name, one in expected.items()
        }
    for parameter, expected_gradient in zip(network.parameters(), gradients, strict=True):
        assert expected_gradient is not None
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, expected_gradient)
    assert at_once[1]["roi_head/num_fg_samples"] > 1


class Waits(TorchDispatchMode):
    """Counts operators whose result's size or value the host needs: on a GPU it waits for them."""

    NAMES = ("nonzero", "_local_scalar_dense", "_unique2", "masked_select")

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.outside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            isinstance(one, Tensor) and one.dtype == torch.bool for one in args[1]
        )
        if not self.outside and (name in self.NAMES or by_mask):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def test_the_host_waits_as_often_for_a_batch_as_for_one_image(network: RCNN) -> None:
    waits = Waits()

    class Kernels(PlainOperators):
        def kept_in_segments(self, *args: Any) -> Tensor:
            waits.outside = True  # the kernel waits for nothing, what stands in for it does
            kept = super().kept_in_segments(*args)
            waits.outside = False
            return kept

    in_slots = SlotProposals(network.proposal_generator, Kernels())
    counted = []
    for drawn in (samples()[:1], samples()):
        waits.found.clear()
        with waits:
            losses(network, *batch_of(network, drawn), NUMBERS, in_slots=in_slots)
        counted.append(dict(waits.found))
    # Anchors and regions, positive and negative: how many of each there are.
    assert counted == [{"nonzero": 4}, {"nonzero": 4}]
