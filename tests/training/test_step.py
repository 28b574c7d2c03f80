"""One iteration: what selects the proposals changes no weight and no line of the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.nn import operators
from harness.training import setup
from harness.training.processes import World
from harness.training.setup import region_operators
from harness.training.step import measure_losses, pinned, pinning, run_iteration
from harness.zoo.architectures import architecture_of, tiny
from tests.golden.losses import samples, seeded_weights
from tests.nn.plain_operators import PlainOperators
from tests.training.steps import NUMBERS, trainer
from tests.training.test_families import setup_of

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


class NotCompiled:
    """Kernels of which one cannot be compiled when it is needed."""

    def __init__(self) -> None:
        self.calls = 0

    def kept_in_segments(self, *_: object) -> torch.Tensor:
        from triton.runtime.errors import OutOfResources

        self.calls += 1
        raise OutOfResources(200_000, 100_000, "shared memory")


def test_a_kernel_that_cannot_be_compiled_costs_a_note_and_no_step() -> None:
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    kernels = NotCompiled()
    one_by_one, broken = trainer(CPU, None), trainer(CPU, kernels)
    for _ in range(2):
        logged = [run_iteration(state, samples()) for state in (one_by_one, broken)]
        assert {name: value.item() for name, value in logged[0].items()} == {
            name: value.item() for name, value in logged[1].items()
        }
    assert kernels.calls == 1
    (note,) = broken.notes
    assert note.startswith("Triton cannot be used here, proposals are selected image by image: out")
    assert measure_losses(broken, iter([list(samples())]))
    assert broken.notes == [note]


def test_bf16_that_a_card_emulates_leaves_proposals_to_the_eager_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "emulation", lambda *_: "it is emulated")
    monkeypatch.setattr(setup, "region_operators", lambda *_: pytest.fail("kernels were taken"))
    found, _ = setup.build_trainer(setup_of(tiny(), tmp_path, "bf16"), CPU, World())
    assert found.operators is None
    assert found.notes == ["it is emulated, and proposals are selected image by image"]


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
