"""A network whose weights come from a file draws none, and holds those of the file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.numpy import load_file

from harness.core.architecture import Architecture
from harness.engines.native import load_network
from harness.engines.torchvision import load_torchvision
from harness.nn.rcnn import RCNN
from harness.nn.unfilled import Unfilled
from harness.zoo.architectures import architecture_of, tiny
from tests.conftest import Seeded

LIGHT = "fasterrcnn_mobilenet_v3_large_fpn"


def test_no_number_is_drawn() -> None:
    before = torch.get_rng_state()
    with Unfilled():
        RCNN(tiny())
    assert torch.equal(torch.get_rng_state(), before)
    RCNN(tiny())
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "architecture", [tiny(), replace(architecture_of(LIGHT), class_count=8)], ids=["own", LIGHT]
)
def test_every_weight_is_that_of_the_file(architecture: Architecture, seeded: Seeded) -> None:
    weights = seeded(architecture)
    if architecture.torchvision is None:
        network: torch.nn.Module = load_network(architecture, weights)
    else:
        network, _ = load_torchvision(architecture, weights)
    state = network.state_dict()
    given = load_file(weights)
    assert {key for key in state if not key.endswith(".num_batches_tracked")} == given.keys()
    assert all(torch.equal(state[key], torch.from_numpy(given[key])) for key in given)
