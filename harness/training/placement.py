"""A network where and how it is trained: device, layout of its maps, frozen parts, kernels."""

from __future__ import annotations

import torch

from harness.core.architecture import Architecture
from harness.core.engine import Precision
from harness.engines.native import own_memory_format
from harness.engines.slot_path import triton_operators
from harness.nn.rcnn import RCNN, convolve_by_onednn
from harness.nn.slot_regions import MOST_A_LEVEL, RegionOperators
from harness.nn.targets import TrainingNumbers
from harness.training.optimizer import freeze


def place(network: RCNN, device: torch.device, precision: Precision, frozen: int) -> None:
    """Move a network to where it is trained, in the layout that is fastest there.

    Args:
        network: It is changed.
        device: Where it is trained.
        precision: What forward passes compute in.
        frozen: Stages of the backbone that are not trained (``freeze``).
    """
    network.to(device)
    network.train()
    if own_memory_format(device, precision) == "channels_last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs
    if device.type == "cpu":
        convolve_by_onednn(network)
    freeze(network, frozen)


def region_operators(
    architecture: Architecture, numbers: TrainingNumbers, device: torch.device, notes: list[str]
) -> RegionOperators | None:
    """Return what selects the proposals of all images at once, without waiting for the device.

    Args:
        architecture: Of what is trained.
        numbers: Limits and budgets.
        device: Where it is trained.
        notes: Receives a sentence where Triton is missing or does not work.

    Returns:
        None on a CPU, and for a network that proposes no regions on a pyramid, or more candidates
        a level than the kernel takes: proposals are then selected image by image.
    """
    if (
        device.type != "cuda"
        or architecture.detector != "rcnn"
        or architecture.neck != "fpn"
        or architecture.given_proposals
        or numbers.rpn_pre_nms_per_level > MOST_A_LEVEL
    ):
        return None
    return triton_operators(device, notes, instead="proposals are selected image by image")
