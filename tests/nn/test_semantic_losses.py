"""Losses and gradients of a semantic head are Detectron2's, live or as recorded from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.core.panoptic import UNKNOWN
from harness.nn.panoptic import semantic_losses
from harness.nn.targets import Targets
from tests.golden.cases import read_golden
from tests.golden.semantic_losses import CASE, NETWORKS, detectron2_losses, native_losses, samples

#: The largest relative difference of a loss that was seen is 2.5e-7.
RELATIVE = 1e-5

#: Of single elements of a gradient, in units of its norm; 1.1e-5 was seen behind a ReLU, which lets
#: a path's gradient through or not where an activation is zero to the last bit.
ELEMENT = 5e-5


#: The narrow network with every part of the other takes a few seconds.
FIRST, *OTHERS = NETWORKS
CASES = (FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS))


def require_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert "loss_sem_seg" in expected["losses"]
    assert found["losses"] == pytest.approx(expected["losses"], rel=RELATIVE, abs=0)
    assert found["statistics"] == pytest.approx(expected["statistics"], rel=1e-4, abs=1e-6)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, (*elements, norm) in expected["gradients"].items():
        *own, own_norm = found["gradients"][name]
        assert own_norm == pytest.approx(norm, rel=1e-4), name
        assert np.abs(np.subtract(own, elements)).max() <= ELEMENT * norm, name


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_those_recorded_from_detectron2(name: str) -> None:
    require_equal(native_losses(name), read_golden(CASE)[name])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_detectron2s(name: str) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    require_equal(native_losses(name), detectron2_losses(name))


def test_the_batch_is_worth_comparing() -> None:
    first, second = (one.semantic for one in samples())
    assert first is not None
    assert second is not None
    assert first.shape != second.shape  # so that one of them is padded
    for one in (first, second):
        assert {0, UNKNOWN} < set(np.unique(one).tolist())


def test_pixels_without_a_class_and_padding_have_no_loss() -> None:
    logits = torch.randn((2, 5, 8, 8), generator=torch.Generator().manual_seed(3))
    logits.requires_grad_()
    nothing = torch.full((32, 32), UNKNOWN, dtype=torch.uint8)

    def loss_of(*semantic: torch.Tensor) -> torch.Tensor:
        empty = torch.zeros((0, 4))
        targets = [
            Targets(empty, empty[:, 0].long(), None, torch.Generator(), semantic=one)
            for one in semantic
        ]
        return semantic_losses(logits, targets)[0]["loss_sem_seg"]

    assert loss_of(nothing, nothing).item() == 0.0  # Detectron2's is not a number
    known = nothing.clone()
    known[:20, :24] = 2
    cut = loss_of(known[:20, :24], nothing)
    torch.testing.assert_close(cut, loss_of(known, nothing))
    cut.backward()
    assert logits.grad is not None
    assert float(logits.grad[1].abs().max()) == 0.0
    assert float(logits.grad[0].abs().max()) > 0.0
