"""torchvision's detectors as they are traced, and as files, find what torchvision finds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.engines.exported import ExportedNetwork, results_of
from harness.engines.exported_torchvision import exported_torchvision
from harness.engines.torchvision import TorchvisionEngine, load_torchvision, open_torchvision
from harness.export.torchvision_network import TraceableTorchvision
from harness.measure.agreement import EXPORTED_MASK_SLACK_PX, compare
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.engines.test_torchvision import BUILDERS, SLOW, small
from tests.golden.cases import pictures


class Eager(ExportedNetwork):
    """The traceable module, run as it is."""

    def __init__(self, module: TraceableTorchvision, names: tuple[str, ...]) -> None:
        self.module, self.names = module, names

    @torch.inference_mode()
    def values(self, image: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        found = self.module(torch.from_numpy(image))
        return {name: one.numpy() for name, one in zip(self.names, found, strict=True)}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(builder, marks=pytest.mark.slow if builder in SLOW else ())
        for builder in BUILDERS
    ],
)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TorchvisionEngine, TorchvisionEngine]:
    """torchvision's engine, and the same around the traceable module."""
    numbers = small(request.param)
    weights = tmp_path_factory.mktemp("torchvision") / "seeded.safetensors"
    write_checkpoint(weights, seeded_checkpoint(architecture_of(request.param)))
    own = open_torchvision(architecture=numbers, weights=weights, device="cpu", threads=1)
    module = TraceableTorchvision(*load_torchvision(numbers, weights)).eval()
    return own, exported_torchvision(Eager(module, results_of(numbers)), own.info)


def test_it_finds_what_torchvision_finds(
    both: tuple[TorchvisionEngine, TorchvisionEngine],
) -> None:
    own, traced = both
    for picture in pictures()[:1]:
        expected, found = (
            one.infer([one.prepare(picture, NULL_STOPWATCH)], NULL_STOPWATCH)[0]
            for one in (own, traced)
        )
        assert len(expected) >= 20, "too few detections to prove anything"
        alike = compare(found, expected, mask_slack_px=EXPORTED_MASK_SLACK_PX)
        assert alike.share_within_bars == 1.0
        assert (found.masks is None) == (expected.masks is None)


def test_numbers_that_are_not_finite_are_reported(
    both: tuple[TorchvisionEngine, TorchvisionEngine],
) -> None:
    eager = copy.deepcopy(both[1].network.file)
    eager.module.network.roi_heads.box_predictor.cls_score.weight.fill_(3e38)
    assert not eager.values(np.full((224, 250, 3), 0.7, np.float32))["finite"]
