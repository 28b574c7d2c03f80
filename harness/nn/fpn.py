"""The maps that regions are proposed on: a feature pyramid on top of a backbone, or one map.

The pyramid is that of Detectron2's ``modeling/backbone/fpn.py``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.convolution import Conv
from harness.nn.mobilenet import MobileNetV2
from harness.nn.normed import NormedConv
from harness.nn.regnet import RegNet
from harness.nn.resnet import ResNet, SingleMap, Staged

#: Pixels of the input per cell, for p2 … p6.
STRIDES_PX = (4, 8, 16, 32, 64)


def bottom_up(architecture: Architecture) -> Staged:
    """Return the backbone: a stem and four stages, whose outputs the pyramid merges."""
    match architecture.backbone:
        case "resnet":
            return ResNet(architecture)
        case "mobilenet_v2":
            return MobileNetV2(architecture)
        case "regnet":
            return RegNet(architecture)


def backbone_of(architecture: Architecture) -> FPN | SingleMap:
    """Return what turns pixels into the maps that regions are proposed on."""
    return FPN(architecture) if architecture.neck == "fpn" else SingleMap(architecture)


class FPN(nn.Module):
    """Lateral 1×1, nearest ×2 upsampling, sum, output 3×3; p6 is p5 subsampled by 2."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = architecture.fpn_channels
        norm, eps = architecture.fpn_norm, architecture.batch_norm_eps
        self.levels = architecture.merged_levels
        for level in self.levels:
            channels_in = architecture.stage_channels[level - 2]
            lateral = NormedConv(channels_in, channels, 1, norm=norm, eps=eps)
            self.add_module(f"fpn_lateral{level}", lateral)
            output = NormedConv(channels, channels, 3, norm=norm, eps=eps)
            self.add_module(f"fpn_output{level}", output)
        self.bottom_up = bottom_up(architecture)
        self.top_block = TopBlock(architecture) if architecture.detector == "dense" else None

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return p2 … p6 of an image batch, for a dense head p3 … p7.

        Args:
            x: (B, 3, H, W), H and W multiples of 32.

        Returns:
            Five maps (B, C, H/s, W/s), with s of the architecture's ``strides_px``.
        """
        merged: Tensor | None = None
        pyramid: list[Tensor] = []
        stages = self.bottom_up(x)
        for level in reversed(self.levels):
            stage = stages[level - 2]
            merged = self.get_submodule(f"fpn_lateral{level}")(
                stage, add=None if merged is None else F.interpolate(merged, scale_factor=2.0)
            )
            pyramid.insert(0, self.get_submodule(f"fpn_output{level}")(merged))  # (B, C, H/s, W/s)
        if self.top_block is not None:
            return pyramid + self.top_block(stages[-1])
        # A max pool with a 1×1 window is a subsampling.
        pyramid.append(F.max_pool2d(pyramid[-1], kernel_size=1, stride=2, padding=0))
        return pyramid


class TopBlock(nn.Module):
    """Two convolutions of stride 2 above res5 (``LastLevelP6P7``)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = architecture.fpn_channels
        self.p6 = Conv(architecture.stage_channels[-1], channels, 3, stride=2, padding=1)
        self.p7 = Conv(channels, channels, 3, stride=2, padding=1)

    def forward(self, stage: Tensor) -> list[Tensor]:
        """Return p6 and p7: (B, C_5, H, W) → (B, C, H/2, W/2) and (B, C, H/4, W/4), rounded up."""
        p6 = self.p6(stage)
        return [p6, self.p7(F.relu(p6))]
