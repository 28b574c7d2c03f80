"""A network whose weights come from a file draws none, and holds those of the file, once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harness.core.architecture import Architecture, Norm
from harness.engines.native import load_network
from harness.engines.torchvision import load_torchvision
from harness.nn.normed import NormedConv
from harness.nn.rcnn import RCNN
from harness.nn.unfilled import Unfilled, fill
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


def test_weights_are_copied_into_the_tensors_of_a_network_once(seeded: Seeded) -> None:
    network = RCNN(tiny())
    places = {key: tensor.data_ptr() for key, tensor in network.state_dict().items()}
    fill(network.state_dict(), load_file(seeded(tiny())))
    assert {key: tensor.data_ptr() for key, tensor in network.state_dict().items()} == places
    with pytest.raises(TypeError, match="Cannot cast"):
        fill({"weight": torch.zeros(2)}, {"weight": np.zeros(2)})


@pytest.mark.parametrize("norm", ["frozen_bn", "bn"])
def test_a_batchnorm_is_folded_in_place_and_rounded_once(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(3)
    conv = NormedConv(5, 7, 3, norm=norm, eps=1e-5)
    fresh = {
        key: torch.rand(one.shape, generator=generator) if one.is_floating_point() else one
        for key, one in conv.state_dict().items()
    }
    conv.load_state_dict(fresh)
    place = conv.weight.data_ptr()
    conv.fold()
    weight, bias = conv.weight.double().numpy(), conv.bias
    numbers = {key: one.double().numpy() for key, one in fresh.items()}
    scale = numbers["norm.weight"] / np.sqrt(numbers["norm.running_var"] + 1e-5)
    shift = numbers["norm.bias"] - numbers["norm.running_mean"] * scale
    folded = numbers["weight"] * scale[:, None, None, None]
    assert conv.norm is None
    assert conv.weight.data_ptr() == place
    assert not conv.weight.requires_grad
    np.testing.assert_array_equal(weight, folded.astype(np.float32).astype(np.float64))
    assert bias is not None
    np.testing.assert_array_equal(bias.numpy(), shift.astype(np.float32))
