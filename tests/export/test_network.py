"""The network as it is traced gives what the network gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.core.architecture import Architecture
from harness.core.detections import Detections
from harness.engines.exported import results_of
from harness.engines.native import load_network
from harness.export.network import stage_names, traceable
from harness.measure.agreement import compare
from harness.nn.rcnn import RCNN
from harness.nn.roi_heads import RawDetections
from harness.zoo.architectures import faster_rcnn_r50_fpn, mask_rcnn_r50_fpn, tiny
from tests.conftest import Seeded

#: The embedded one with masks and without is enough at every step.
NETWORKS = (
    pytest.param(mask_rcnn_r50_fpn(), id="mask", marks=pytest.mark.slow),
    pytest.param(faster_rcnn_r50_fpn(), id="faster", marks=pytest.mark.slow),
    pytest.param(tiny(), id="tiny"),
    pytest.param(replace(tiny(), has_masks=False), id="tiny boxes"),
)


def network_of(architecture: Architecture, seeded: Seeded) -> RCNN:
    return load_network(architecture, seeded(architecture))


def picture(height: int, width: int) -> torch.Tensor:
    """Smooth noise, (height, width, 3) uint8."""
    generator = np.random.Generator(np.random.PCG64(3))
    coarse = torch.from_numpy(generator.uniform(0, 255, (1, 3, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return smooth[0].clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def detections(raw: RawDetections) -> Detections:
    boxes, scores, classes = (one.numpy() for one in raw)
    return Detections(
        image_id=1, boxes_xyxy_px=boxes, scores=scores, class_index=classes, masks=None
    )


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("size", [(192, 275), (33, 160)])
@torch.inference_mode()
def test_it_equals_the_network(
    architecture: Architecture, size: tuple[int, int], seeded: Seeded
) -> None:
    network = network_of(architecture, seeded)
    image = picture(*size)
    names = (*results_of(network.architecture), *stage_names(network.architecture))
    found = dict(zip(names, traceable(network)(image), strict=True))
    answered = network(network.batch([image.permute(2, 0, 1)]))
    (expected,), soft = answered.detections, answered.masks
    assert len(expected.scores) > 10, "too few detections to prove anything"
    assert found["finite"]
    answer = RawDetections(found["boxes"], found["scores"], found["classes"])
    assert compare(detections(answer), detections(expected)).share_within_bars == 1.0
    assert ("masks" in found) == architecture.has_masks
    if soft is not None:
        same = torch.cdist(expected.boxes, found["boxes"]).argmin(dim=1)  # scores may tie
        torch.testing.assert_close(found["masks"][same], soft[0], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_numbers_that_are_not_finite_are_told(seeded: Seeded) -> None:
    network = network_of(tiny(), seeded)
    network.roi_heads.box_predictor.cls_score.weight.fill_(3e38)
    names = results_of(network.architecture)
    found = dict(zip(names, traceable(network)(picture(64, 96)), strict=False))
    assert not found["finite"]
