"""Feature pyramid on top of a backbone (Detectron2 ``modeling/backbone/fpn.py``)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.convolution import Conv
from harness.nn.mobilenet import MobileNetV2
from harness.nn.resnet import ResNet

#: Pixels of the input per cell, for p2 … p6.
STRIDES_PX = (4, 8, 16, 32, 64)

#: Both sides of the padded input are multiples of this (FPN.size_divisibility).
SIZE_DIVISOR_PX = 32


def bottom_up(architecture: Architecture) -> ResNet | MobileNetV2:
    """Return the backbone: ``stem`` and ``res2`` … ``res5``, whose outputs the pyramid merges."""
    match architecture.backbone:
        case "resnet":
            return ResNet(architecture)
        case "mobilenet_v2":
            return MobileNetV2(architecture)


class FPN(nn.Module):
    """Lateral 1×1, nearest ×2 upsampling, sum, output 3×3; p6 is p5 subsampled by 2."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = architecture.fpn_channels
        for level, channels_in in enumerate(architecture.stage_channels, start=2):
            self.add_module(f"fpn_lateral{level}", Conv(channels_in, channels, 1))
            self.add_module(f"fpn_output{level}", Conv(channels, channels, 3, padding=1))
        self.bottom_up = bottom_up(architecture)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return p2 … p6 of an image batch.

        Args:
            x: (B, 3, H, W), H and W multiples of SIZE_DIVISOR_PX.

        Returns:
            Five maps (B, C, H/s, W/s), with s of STRIDES_PX.
        """
        merged: Tensor | None = None
        pyramid: list[Tensor] = []
        for level, stage in reversed(list(enumerate(self.bottom_up(x), start=2))):
            merged = self.get_submodule(f"fpn_lateral{level}")(
                stage, add=None if merged is None else F.interpolate(merged, scale_factor=2.0)
            )
            pyramid.insert(0, self.get_submodule(f"fpn_output{level}")(merged))  # (B, C, H/s, W/s)
        # A max pool with a 1×1 window is a subsampling.
        pyramid.append(F.max_pool2d(pyramid[-1], kernel_size=1, stride=2, padding=0))
        return pyramid
