"""ResNet and ResNeXt as Detectron2 builds them (``modeling/backbone/resnet.py``).

Attribute names follow the keys of the zoo's checkpoints, so no rename table is needed.
Shapes: B images, C channels, H × W pixels of the level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.normed import DeformableConv, NormedConv

STAGES = ("res2", "res3", "res4", "res5")

#: Numbers that move the nine samples of a deformable 3×3 convolution: down and right of each.
OFFSETS = 18


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; the stride is in the first."""

    def __init__(
        self, architecture: Architecture, channels_in: int, channels: int, stride: int
    ) -> None:
        super().__init__()
        self.shortcut = _shortcut(architecture, channels_in, channels, stride)
        norm, eps = architecture.backbone_norm, architecture.batch_norm_eps
        self.conv1 = NormedConv(channels_in, channels, 3, stride, norm=norm, eps=eps)
        self.conv2 = NormedConv(channels, channels, 3, norm=norm, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride)."""
        out = self.conv1(x, relu=True)  # (B, C, H/stride, W/stride)
        return self.conv2(out, add=x if self.shortcut is None else self.shortcut(x), relu=True)


class BottleneckBlock(nn.Module):
    """1×1, 3×3, 1×1 and a shortcut; the 3×3 may have groups, a dilation, or be deformable."""

    def __init__(
        self,
        architecture: Architecture,
        channels_in: int,
        channels: int,
        stride: int,
        *,
        stage: int,
        dilation: int = 1,
    ) -> None:
        """Make a block of a stage.

        Args:
            architecture: Its numbers.
            channels_in: Channels of the input.
            channels: Channels of the output.
            stride: Stride of the block.
            stage: 0 for res2 … 3 for res5.
            dilation: Dilation of the 3×3 convolution.
        """
        super().__init__()
        a = architecture
        inner = a.groups * a.width_per_group * 2**stage
        first, middle = (stride, 1) if a.stride_in_1x1 else (1, stride)
        norm, eps = a.backbone_norm, a.batch_norm_eps
        self.shortcut = _shortcut(a, channels_in, channels, stride)
        self.conv1 = NormedConv(channels_in, inner, 1, first, norm=norm, eps=eps)
        deformable = a.deformable_stages[stage]
        self.conv2_offset = (
            NormedConv(inner, OFFSETS, 3, middle, norm="none", eps=eps, dilation=dilation)
            if deformable
            else None
        )
        self.conv2 = (DeformableConv if deformable else NormedConv)(
            inner, inner, 3, middle, norm=norm, eps=eps, groups=a.groups, dilation=dilation
        )
        self.conv3 = NormedConv(inner, channels, 1, norm=norm, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride)."""
        out = self.conv1(x, relu=True)  # (B, inner, H or H/stride, W or W/stride)
        moved = () if self.conv2_offset is None else (self.conv2_offset(out),)
        out = self.conv2(out, *moved, relu=True)  # (B, inner, H/stride, W/stride)
        return self.conv3(out, add=x if self.shortcut is None else self.shortcut(x), relu=True)


def _shortcut(
    architecture: Architecture, channels_in: int, channels: int, stride: int
) -> NormedConv | None:
    if channels_in == channels:
        return None
    norm, eps = architecture.backbone_norm, architecture.batch_norm_eps
    return NormedConv(channels_in, channels, 1, stride, norm=norm, eps=eps)


class Stem(nn.Module):
    """7×7 convolution of stride 2 and a max pool of stride 2."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        norm, eps = architecture.backbone_norm, architecture.batch_norm_eps
        self.conv1 = NormedConv(3, architecture.stem_channels, 7, 2, norm=norm, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stem's output: (B, 3, H, W) → (B, C, H/4, W/4)."""
        x = self.conv1(x, relu=True)  # (B, C, H/2, W/2)
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # (B, C, H/4, W/4)


class Staged(nn.Module):
    """A stem and stages of which each halves the map but the first.

    Attributes:
        stem: Its first convolution sees the pixels.
        stage_names: Names of the stages, in order.
    """

    stem: nn.Module
    stage_names: Sequence[str] = STAGES

    @property
    def parts(self) -> list[nn.Module]:
        """Return the stem and the stages, in order."""
        return [self.stem, *(self.get_submodule(name) for name in self.stage_names)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return a map a stage: (B, 3, H, W) → (B, C_i, H/s, W/s) for s = 4, 8, 16, 32."""
        x = self.stem(x)
        outputs = []
        for name in self.stage_names:
            x = self.get_submodule(name)(x)  # (B, C_i, H/s, W/s)
            outputs.append(x)
        return outputs


def make_stage(architecture: Architecture, stage: int, count: int | None = None) -> nn.Sequential:
    """Return the blocks of a stage.

    Args:
        architecture: Its numbers.
        stage: 0 for res2 … 3 for res5.
        count: Blocks; None for as many as the architecture has.
    """
    a = architecture
    dilated = a.neck == "dc5" and stage == 3
    channels_in = a.stem_channels if stage == 0 else a.stage_channels[stage - 1]
    channels = a.stage_channels[stage]
    count = a.blocks_per_stage[stage] if count is None else count
    blocks: list[nn.Module] = []
    for index in range(count):
        stride = 2 if index == 0 and stage > 0 and not dilated else 1
        if a.block == "basic":
            blocks.append(BasicBlock(a, channels_in, channels, stride))
        else:
            dilation = 2 if dilated else 1
            blocks.append(
                BottleneckBlock(a, channels_in, channels, stride, stage=stage, dilation=dilation)
            )
        channels_in = channels
    return nn.Sequential(*blocks)


class ResNet(Staged):
    """The stages of residual blocks that ``architecture`` counts."""

    stem: Stem

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        # With C4, res5 is computed on each region and belongs to the heads.
        self.stage_names = STAGES[:3] if architecture.neck == "c4" else STAGES
        self.stem = Stem(architecture)
        for index, name in enumerate(self.stage_names):
            self.add_module(name, make_stage(architecture, index))


class SingleMap(ResNet):
    """A ResNet whose last output is the one map of the network: C4 and DC5."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one map: (B, 3, H, W) → (B, C, ⌈H/16⌉, ⌈W/16⌉)."""
        return super().forward(x)[-1:]
