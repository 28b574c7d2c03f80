"""One iteration: what selects the proposals changes no weight and no line of the log."""

from __future__ import annotations

import pytest
import torch

from harness.core.requests.training import TrainRequest
from harness.core.settings import replaced
from harness.nn import operators
from harness.nn.rcnn import RCNN
from harness.nn.slot_regions import RegionOperators
from harness.nn.targets import TrainingNumbers
from harness.training.placement import place, region_operators
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.step import Trainer, run_iteration
from harness.zoo.architectures import architecture_of, tiny
from tests.golden.losses import samples, seeded_weights
from tests.nn.plain_operators import PlainOperators

CPU = torch.device("cpu")
NUMBERS = TrainingNumbers(rpn_post_nms=300, anchors_per_image=64, rois_per_image=96)
SCHEDULE = Schedule(
    iterations=9, batch_size=2, learning_rate=1e-3, steps=(), warmup=1, checkpoint_period=9
)


def trainer(chosen: RegionOperators | None) -> Trainer:
    network = RCNN(tiny())
    network.load_state_dict(seeded_weights(tiny()))
    place(network, CPU, "fp32", frozen=2)
    return Trainer(
        network=network,
        config=replaced(TrainRequest(), precision="fp32"),
        schedule=SCHEDULE,
        numbers=NUMBERS,
        device=CPU,
        world=World(),
        average=None,
        operators=chosen,
    )


def test_a_step_is_the_same_with_proposals_in_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a GPU does: all levels are suppressed in one call.
    monkeypatch.setattr(operators, "ONE_CALL_CPU", operators.ONE_CALL_ELSEWHERE)
    one_by_one, at_once = trainer(None), trainer(PlainOperators())
    logged = [run_iteration(state, samples()) for state in (one_by_one, at_once)]
    assert {name: value.item() for name, value in logged[0].items()} == {
        name: value.item() for name, value in logged[1].items()
    }
    begun = seeded_weights(tiny())
    weights, others = one_by_one.network.state_dict(), at_once.network.state_dict()
    assert all(torch.equal(others[name], value) for name, value in weights.items())
    assert any(not torch.equal(begun[name], value) for name, value in weights.items())


def test_frozen_stages_stay() -> None:
    state = trainer(None)
    run_iteration(state, samples())
    begun, weights = seeded_weights(tiny()), state.network.state_dict()
    frozen = [
        name
        for name in weights
        if name.startswith(("backbone.bottom_up.stem", "backbone.bottom_up.res2"))
    ]
    assert frozen
    assert all(torch.equal(weights[name], begun[name]) for name in frozen)


@pytest.mark.parametrize(
    "name",
    [
        "faster_rcnn_R_50_C4",
        "mask_rcnn_R_50_DC5",
        "retinanet_R_50_FPN",
        "rpn_R_50_FPN",
        "fast_rcnn_R_50_FPN",
    ],
)
def test_a_network_without_proposals_on_a_pyramid_asks_for_no_kernels(name: str) -> None:
    notes: list[str] = []
    found = region_operators(architecture_of(name), NUMBERS, torch.device("cuda"), notes)
    assert (found, notes) == (None, [])


def test_where_triton_does_not_work_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("no driver\nmore of it")

    monkeypatch.setattr(torch, "zeros", fail)
    notes: list[str] = []
    architecture = architecture_of("mask_rcnn_R_50_FPN")
    assert region_operators(architecture, NUMBERS, torch.device("cuda"), notes) is None
    assert notes == ["Triton cannot be used here, proposals are selected image by image: no driver"]
