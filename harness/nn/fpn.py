"""The maps that regions are proposed on: a feature pyramid on top of a backbone, or one map.

The pyramid is that of Detectron2's ``modeling/backbone/fpn.py``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
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
        for level, channels_in in enumerate(architecture.stage_channels, start=2):
            lateral = NormedConv(channels_in, channels, 1, norm=norm, eps=eps)
            self.add_module(f"fpn_lateral{level}", lateral)
            output = NormedConv(channels, channels, 3, norm=norm, eps=eps)
            self.add_module(f"fpn_output{level}", output)
        self.bottom_up = bottom_up(architecture)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return p2 … p6 of an image batch.

        Args:
            x: (B, 3, H, W), H and W multiples of 32.

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
