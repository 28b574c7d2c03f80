"""The keypoint loss is Detectron2's, live where it is installed, else as recorded from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.nn.losses import heat_targets
from tests.golden.cases import read_golden
from tests.golden.keypoint_losses import CASE, NAMED, detectron2_losses, native_losses


def require_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(expected["losses"]) == set(found["losses"]) >= {"loss_keypoint"}
    for kind in ("losses", "gradients"):
        for name, value in expected[kind].items():
            assert found[kind][name] == pytest.approx(value, rel=2e-5), name
    assert set(found["gradients"]) == set(NAMED)
    for name in set(found["statistics"]) & set(expected["statistics"]):
        assert found["statistics"][name] == pytest.approx(expected["statistics"][name], rel=1e-5)
    assert "keypoint_head/num_fg_samples" in expected["statistics"]


def test_losses_and_gradients_are_those_recorded_from_detectron2() -> None:
    require_equal(native_losses(), read_golden(CASE))


@pytest.mark.filterwarnings("ignore")
def test_losses_and_gradients_are_detectron2s() -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    require_equal(native_losses(), detectron2_losses())


def test_cells_are_those_of_the_reference() -> None:
    keypoints = pytest.importorskip("detectron2.structures.keypoints")
    random = torch.Generator().manual_seed(1)
    corners = torch.rand((30, 2), generator=random) * 100
    boxes = torch.cat((corners, corners + 1 + torch.rand((30, 2), generator=random) * 80), dim=1)
    points = torch.rand((30, 7, 3), generator=random) * torch.tensor([200.0, 200.0, 3.0])
    points[..., 2] = points[..., 2].floor()
    points[:, 0, :2], points[:, 1, :2] = boxes[:, :2], boxes[:, 2:]  # at its corners
    cells, valid = heat_targets(points, boxes, 56)
    expected, there = keypoints._keypoints_to_heatmap(points, boxes, 56)
    assert torch.equal(valid.long(), there)
    assert torch.equal(cells[valid], expected[valid])
