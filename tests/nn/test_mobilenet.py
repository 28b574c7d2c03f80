"""MobileNetV2 against torchvision's, by the same weights under their two names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from harness.core.architecture import Architecture
from harness.core.errors import IntegrityError
from harness.nn.mobilenet import InvertedResidual
from harness.nn.rcnn import RCNN, prepare_for_inference
from harness.training.initial import initialise, load_backbone
from harness.training.optimizer import freeze
from harness.zoo.architectures import architecture_of
from harness.zoo.backbones import MOBILENET_REST, backbone_of, mobilenet_names

#: Blocks of torchvision's list whose outputs are the levels of the pyramid.
LEVELS = (3, 6, 13, 17)


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return architecture_of("mask_rcnn_mobilenet_v2_fpn_lite")


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's network with BatchNorms that do something."""
    torch.manual_seed(0)
    network = mobilenet_v2(weights=None).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network


@pytest.fixture(scope="module")
def file(theirs: nn.Module) -> dict[str, np.ndarray]:
    """What lies in torchvision's file."""
    return {key: value.numpy() for key, value in theirs.state_dict().items()}


@pytest.fixture
def ours(architecture: Architecture, file: dict[str, np.ndarray]) -> RCNN:
    network = RCNN(architecture).eval()
    initialise(network, 0)
    load_backbone(network, backbone_of(file, architecture), where="here")
    return network.requires_grad_(False)


def levels(network: nn.Module, pixels: Tensor) -> Iterator[Tensor]:
    for index, layer in enumerate(network.features):  # type: ignore[arg-type]
        pixels = layer(pixels)
        if index in LEVELS:
            yield pixels


@pytest.mark.parametrize("size", [(224, 320), (96, 160)])
def test_features_equal_torchvisions(ours: RCNN, theirs: nn.Module, size: tuple[int, int]) -> None:
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = list(levels(theirs, pixels))
    found = ours.backbone.bottom_up(pixels)
    assert [one.shape[1] for one in found] == [24, 32, 96, 320]
    for stride, one, other in zip((4, 8, 16, 32), found, expected, strict=True):
        assert one.shape[2:] == (size[0] // stride, size[1] // stride)
        assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())
    prepare_for_inference(ours, torch.device("cpu"))
    for one, other in zip(ours.backbone.bottom_up(pixels), expected, strict=True):
        assert float((one - other).abs().max()) <= 1e-4 * float(other.abs().max())


def test_every_key_of_torchvisions_file_is_accounted_for(
    ours: RCNN, file: dict[str, np.ndarray]
) -> None:
    names = mobilenet_names()
    assert {key for key in file if not MOBILENET_REST.fullmatch(key)} == set(names)
    own = {key for key in ours.state_dict() if key.startswith("backbone.bottom_up.")}
    assert set(names.values()) == own
    assert len(set(names.values())) == len(names)


def test_a_backbone_of_its_own_keys_is_read_as_well(ours: RCNN, architecture: Architecture) -> None:
    start = "backbone.bottom_up."
    own = {key: value.numpy() for key, value in ours.state_dict().items() if key.startswith(start)}
    assert backbone_of(own, architecture).keys() == own.keys()


def test_a_tensor_nobody_knows_is_refused(
    file: dict[str, np.ndarray], architecture: Architecture
) -> None:
    odd = {**file, "features.19.0.weight": np.zeros((1,), np.float32)}
    with pytest.raises(IntegrityError, match=r"1 tensors are of no MobileNetV2.*features\.19"):
        backbone_of(odd, architecture)
    short = dict(file)
    del short["features.7.conv.2.weight"]
    network = RCNN(architecture)
    with pytest.raises(IntegrityError, match=r"1 of \d+ tensors are missing.*res4\.0\.project"):
        load_backbone(network, backbone_of(short, architecture), where="here")


def test_random_weights_keep_the_spread(architecture: Architecture) -> None:
    network = RCNN(architecture).eval().requires_grad_(False)
    initialise(network, 3)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    for level in network.backbone.bottom_up(pixels):
        assert 0.2 < float(level.std()) < 3
    shortcuts = [one.has_shortcut for one in network.modules() if isinstance(one, InvertedResidual)]
    assert (len(shortcuts), sum(shortcuts)) == (17, 10)


def test_stages_freeze_like_a_resnets(architecture: Architecture) -> None:
    network = RCNN(architecture)
    freeze(network, 2)
    backbone = network.backbone.bottom_up
    assert not any(one.requires_grad for one in backbone.stem.parameters())
    assert not any(one.requires_grad for one in backbone.res2.parameters())
    assert all(one.requires_grad for one in backbone.res3.parameters())
