"""One iteration: what selects the proposals changes no weight and no line of the log."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.nn import operators
from harness.training.setup import region_operators
from harness.training.step import pinned, pinning, run_iteration
from harness.zoo.architectures import architecture_of, tiny
from tests.golden.losses import samples, seeded_weights
from tests.nn.plain_operators import PlainOperators
from tests.training.steps import NUMBERS, trainer

CPU = torch.device("cpu")


def test_a_step_is_the_same_with_proposals_in_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a GPU does: all levels are suppressed in one call.
    monkeypatch.setattr(operators, "ONE_CALL_CPU", operators.ONE_CALL_ELSEWHERE)
    one_by_one, at_once = trainer(CPU, None), trainer(CPU, PlainOperators())
    logged = [run_iteration(state, samples()) for state in (one_by_one, at_once)]
    assert {name: value.item() for name, value in logged[0].items()} == {
        name: value.item() for name, value in logged[1].items()
    }
    begun = seeded_weights(tiny())
    weights, others = one_by_one.network.state_dict(), at_once.network.state_dict()
    assert all(torch.equal(others[name], value) for name, value in weights.items())
    assert any(not torch.equal(begun[name], value) for name, value in weights.items())


def test_frozen_stages_stay() -> None:
    state = trainer(CPU, None)
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


def test_pixels_for_a_gpu_lie_in_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a GPU's driver can pin: it is stood in for."""
    asked = []

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        asked.append(tensor.shape)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    sample = samples()[0]
    kept = pinned(sample)
    assert asked == [sample.pixels.shape]
    assert kept.pixels is not sample.pixels
    np.testing.assert_array_equal(kept.pixels, sample.pixels)
    assert pinning(torch.device("cuda", 1)) is pinned
    assert pinning(CPU) is None
    assert (kept.image_id, kept.canvas) == (sample.image_id, sample.canvas)
