"""MobileNetV2 (Sandler et al. 2018, table 2) with frozen BatchNorm, as the bottom of a pyramid.

Blocks are grouped by the stride of their output, so that ``stem`` and ``res2`` … ``res5`` mean
what they mean in a ResNet. Shapes: B images, C channels, H × W pixels of the level.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.normed import NormedConv
from harness.nn.resnet import Staged

#: How much wider a block is inside than at its ends.
EXPANSION = 6

#: Channels after the stem's own block.
FIRST_CHANNELS = 16

#: Output channels of each block by stage; the first block of a stage has the stride.
STAGES = {
    "res2": (24, 24),
    "res3": (32, 32, 32),
    "res4": (64, 64, 64, 64, 96, 96, 96),
    "res5": (160, 160, 160, 320),
}


class InvertedResidual(nn.Module):
    """1×1 to more channels, a 3×3 on each channel alone, 1×1 back; the last one is linear.

    A block that does not widen has no first 1×1.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, widen: int, eps: float):
        super().__init__()
        inner = channels_in * widen
        self.expand = (
            None if widen == 1 else NormedConv(channels_in, inner, 1, norm="frozen_bn", eps=eps)
        )
        self.depthwise = NormedConv(
            inner, inner, 3, stride, norm="frozen_bn", eps=eps, groups=inner
        )
        self.project = NormedConv(inner, channels, 1, norm="frozen_bn", eps=eps)
        self.has_shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride)."""
        out = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out = F.relu6(self.depthwise(out), inplace=True)  # (B, inner, H/stride, W/stride)
        return self.project(out, add=x if self.has_shortcut else None)


class Stem(nn.Module):
    """3×3 convolution of stride 2, and the one block that does not widen."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.conv1 = NormedConv(3, channels, 3, 2, norm="frozen_bn", eps=eps)
        self.block = InvertedResidual(channels, FIRST_CHANNELS, 1, 1, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stem's output: (B, 3, H, W) → (B, 16, H/2, W/2)."""
        return self.block(F.relu6(self.conv1(x), inplace=True))  # (B, 16, H/2, W/2)


class MobileNetV2(Staged):
    """The stages of inverted residuals of ``STAGES``."""

    stem: Stem

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        eps = architecture.batch_norm_eps
        self.stem = Stem(architecture.stem_channels, eps)
        channels_in = FIRST_CHANNELS
        for name, widths in STAGES.items():
            # 64 → 96 channels and 160 → 320 happen within a stage, at stride 1.
            pairs = pairwise((channels_in, *widths))
            blocks = [
                InvertedResidual(before, after, 2 if index == 0 else 1, EXPANSION, eps)
                for index, (before, after) in enumerate(pairs)
            ]
            self.add_module(name, nn.Sequential(*blocks))
            channels_in = widths[-1]
