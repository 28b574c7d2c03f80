"""A dense head: its losses are Detectron2's, and its candidates those of the reference's way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.nn.dense import DenseHead, mean_positives_of
from harness.nn.losses import losses
from harness.nn.rcnn import RCNN
from harness.nn.targets import Targets
from harness.training.initial import PRIOR, initialise
from tests.golden.cases import read_golden
from tests.golden.dense_losses import CASE, architecture, detectron2_losses, native_losses
from tests.golden.losses import EVERYTHING
from tests.nn.test_losses import ELEMENT, RELATIVE


@pytest.fixture(scope="module")
def native() -> dict[str, Any]:
    return native_losses()


def test_losses_and_gradients_equal_the_recorded_ones(native: dict[str, Any]) -> None:
    expected = read_golden(CASE)
    assert native["losses"] == pytest.approx(expected["losses"], rel=RELATIVE, abs=0)
    assert native["statistics"] == pytest.approx(expected["statistics"], rel=RELATIVE)
    for name, (*elements, norm) in expected["gradients"].items():
        *found, found_norm = native["gradients"][name]
        assert found_norm == pytest.approx(norm, rel=RELATIVE), name
        assert np.abs(np.subtract(found, elements)).max() <= ELEMENT * norm, name
    assert all(value > 1e-5 for value in expected["losses"].values())
    assert expected["statistics"]["num_pos_anchors"] > 8


@pytest.mark.filterwarnings("ignore")
def test_losses_equal_the_installed_detectron2(native: dict[str, Any]) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    assert native["losses"] == pytest.approx(detectron2_losses()["losses"], rel=RELATIVE, abs=0)


def test_an_image_without_objects_has_a_loss_and_moves_no_box() -> None:
    network = RCNN(architecture()).train()
    initialise(network, seed=1)
    batch = network.batch([torch.full((3, 64, 96), 100, dtype=torch.uint8)])
    nothing = Targets(
        torch.zeros((0, 4)), torch.zeros(0, dtype=torch.int64), None, torch.Generator()
    )
    found, statistics = losses(network, batch, [nothing], EVERYTHING)
    assert float(found["loss_cls"].detach()) > 0
    assert float(found["loss_box_reg"].detach()) == 0
    assert float(statistics["num_pos_anchors"]) == 0
    # 0.9 · 100 + 0.1 · 1: what no anchor counts as.
    assert mean_positives_of(network) == pytest.approx(90.1)
    with torch.no_grad():
        losses(network, batch, [nothing], EVERYTHING)
    assert mean_positives_of(network) == pytest.approx(90.1)


def test_training_begins_with_few_objects() -> None:
    network = RCNN(architecture())
    initialise(network, seed=1)
    shares = network.head.cls_score.bias.detach().sigmoid().numpy()
    assert shares == pytest.approx(PRIOR)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5, 1.0])
def test_the_quick_way_to_the_candidates_finds_those_of_the_reference(threshold: float) -> None:
    numbers = replace(architecture(), score_threshold=threshold, dense_candidates_per_level=40)
    head = DenseHead(numbers)
    logits = torch.randn((300, 8), generator=torch.Generator().manual_seed(3)) * 3
    logits[5, 2] = float(np.log(threshold / (1 - threshold))) if 0 < threshold < 1 else 0.0
    quick = head.candidates(logits)
    head.exact = True
    for found, expected in zip(quick, head.candidates(logits), strict=True):
        torch.testing.assert_close(found, expected)
