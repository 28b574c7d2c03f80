"""RegNet X and Y as Detectron2 builds them (``modeling/backbone/regnet.py``), below a pyramid.

Attribute names follow the keys of the zoo's checkpoints, where a normalisation is beside its
convolution. Shapes: B images, C channels, H × W pixels of the level.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.convolution import Conv
from harness.nn.normed import NormedConv
from harness.nn.resnet import Staged

STAGES = ("s1", "s2", "s3", "s4")


def add_beside(parent: nn.Module, name: str, norm_name: str, convolution: NormedConv) -> None:
    """Add a convolution to a module, and its normalisation beside it instead of in it."""
    norm = convolution.norm
    assert norm is not None
    del convolution.norm
    convolution.__dict__["norm"] = norm  # used, but no part of the convolution by its name
    parent.add_module(name, convolution)
    parent.add_module(norm_name, norm)


class SqueezeExcitation(nn.Module):
    """Each channel scaled by a share between 0 and 1 that the means of all channels decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.f_ex = nn.Sequential(
            Conv(channels, squeezed, 1), nn.ReLU(), Conv(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled maps: (B, C, H, W) → (B, C, H, W)."""
        scaled: Tensor = x * self.f_ex(F.adaptive_avg_pool2d(x, 1))  # (B, C, 1, 1) each
        return scaled


class Transform(nn.Module):
    """1×1, 3×3 in groups, squeeze-and-excitation where there is one, 1×1."""

    a: NormedConv
    b: NormedConv
    c: NormedConv

    def __init__(
        self, architecture: Architecture, channels_in: int, channels: int, stride: int
    ) -> None:
        super().__init__()
        norm, eps = architecture.backbone_norm, architecture.batch_norm_eps
        groups = channels // min(architecture.width_per_group, channels)
        add_beside(self, "a", "a_bn", NormedConv(channels_in, channels, 1, norm=norm, eps=eps))
        middle = NormedConv(channels, channels, 3, stride, norm=norm, eps=eps, groups=groups)
        add_beside(self, "b", "b_bn", middle)
        squeezed = round(channels_in * architecture.squeeze_ratio)
        self.se = SqueezeExcitation(channels, squeezed) if squeezed else None
        add_beside(self, "c", "c_bn", NormedConv(channels, channels, 1, norm=norm, eps=eps))

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Return a block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride).

        Args:
            x: x of the block.
            shortcut: (B, C, H/stride, W/stride); it is given up.
        """
        out = self.b(self.a(x, relu=True), relu=True)  # (B, C, H/stride, W/stride)
        return self.c(out if self.se is None else self.se(out), add=shortcut, relu=True)


class Block(nn.Module):
    """A transform and a shortcut, which is a 1×1 convolution where the shape changes."""

    proj: NormedConv | None

    def __init__(
        self, architecture: Architecture, channels_in: int, channels: int, stride: int
    ) -> None:
        super().__init__()
        norm, eps = architecture.backbone_norm, architecture.batch_norm_eps
        if channels_in != channels or stride != 1:
            shortcut = NormedConv(channels_in, channels, 1, stride, norm=norm, eps=eps)
            add_beside(self, "proj", "bn", shortcut)
        else:
            self.proj = None
        self.f = Transform(architecture, channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride)."""
        out: Tensor = self.f(x, x if self.proj is None else self.proj(x))
        return out


class Stem(nn.Module):
    """3×3 convolution of stride 2; there is no pooling."""

    conv: NormedConv

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        norm, eps = architecture.backbone_norm, architecture.batch_norm_eps
        convolution = NormedConv(3, architecture.stem_channels, 3, 2, norm=norm, eps=eps)
        add_beside(self, "conv", "bn", convolution)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stem's output: (B, 3, H, W) → (B, C, H/2, W/2)."""
        return self.conv(x, relu=True)


class RegNet(Staged):
    """Four stages; the first block of each halves the map."""

    stem: Stem
    stage_names = STAGES

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.stem = Stem(architecture)
        ends = pairwise((architecture.stem_channels, *architecture.stage_channels))
        for name, (before, channels), count in zip(
            STAGES, ends, architecture.blocks_per_stage, strict=True
        ):
            stage = nn.Sequential()
            for index in range(count):
                block = Block(
                    architecture, before if index == 0 else channels, channels, 1 + (index == 0)
                )
                stage.add_module(f"b{index + 1}", block)
            self.add_module(name, stage)
