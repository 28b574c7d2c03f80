"""ResNet as Detectron2 builds it (``modeling/backbone/resnet.py``), with frozen BatchNorm.

Attribute names follow the keys of the zoo's checkpoints, so no rename table is needed.
Shapes: B images, C channels, H × W pixels of the level.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.convolution import Conv


class FrozenBatchNorm(nn.Module):
    """BatchNorm with fixed statistics and a fixed affine map; all four vectors are buffers."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels) - eps)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift, each (C,), that the normalisation amounts to."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) normalised; one fused operation, as in the reference's evaluation."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class NormedConv(Conv):
    """A convolution followed by frozen BatchNorm, or with it folded into its weights."""

    norm: FrozenBatchNorm | None

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int, eps: float, groups: int = 1
    ) -> None:
        padding = kernel // 2
        super().__init__(channels_in, channels, kernel, stride, padding, groups=groups, bias=False)
        self.norm = FrozenBatchNorm(channels, eps)

    def convolve(self, x: Tensor) -> Tensor:
        """Return the result, normalised: (B, C_in, H, W) → (B, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        if self.norm is not None and self.training:
            # Scaling the weights instead of the output costs far less, there and in the gradient.
            scale, shift = self.norm.affine()
            weight = self.weight * scale[:, None, None, None]
            return self._conv_forward(x, weight, shift)
        x = self._conv_forward(x, self.weight, self.bias)
        return x if self.norm is None else self.norm(x)

    @torch.no_grad()
    def fold(self) -> None:
        """Absorb the BatchNorm into weight and bias, computed in float64 and rounded once."""
        if self.norm is None:
            return
        norm = self.norm
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        folded = self.weight.double() * scale[:, None, None, None]
        self.weight = nn.Parameter(folded.to(self.weight.dtype), requires_grad=False)
        self.bias = nn.Parameter(shift.to(self.weight.dtype), requires_grad=False)
        self.norm = None


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; the stride is in the first."""

    def __init__(self, channels_in: int, channels: int, stride: int, eps: float) -> None:
        super().__init__()
        self.shortcut = _shortcut(channels_in, channels, stride, eps)
        self.conv1 = NormedConv(channels_in, channels, 3, stride, eps)
        self.conv2 = NormedConv(channels, channels, 3, 1, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride)."""
        out = self.conv1(x, relu=True)  # (B, C, H/stride, W/stride)
        return self.conv2(out, add=x if self.shortcut is None else self.shortcut(x), relu=True)


class BottleneckBlock(nn.Module):
    """1×1, 3×3, 1×1 and a shortcut; the stride is in the first 1×1 (RESNETS.STRIDE_IN_1X1)."""

    def __init__(self, channels_in: int, channels: int, stride: int, eps: float) -> None:
        super().__init__()
        inner = channels // 4
        self.shortcut = _shortcut(channels_in, channels, stride, eps)
        self.conv1 = NormedConv(channels_in, inner, 1, stride, eps)
        self.conv2 = NormedConv(inner, inner, 3, 1, eps)
        self.conv3 = NormedConv(inner, channels, 1, 1, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output: (B, C_in, H, W) → (B, C, H/stride, W/stride)."""
        out = self.conv2(self.conv1(x, relu=True), relu=True)  # (B, C/4, H/stride, W/stride)
        return self.conv3(out, add=x if self.shortcut is None else self.shortcut(x), relu=True)


def _shortcut(channels_in: int, channels: int, stride: int, eps: float) -> NormedConv | None:
    return None if channels_in == channels else NormedConv(channels_in, channels, 1, stride, eps)


class Stem(nn.Module):
    """7×7 convolution of stride 2 and a max pool of stride 2."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        eps = architecture.batch_norm_eps
        self.conv1 = NormedConv(3, architecture.stem_channels, 7, 2, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stem's output: (B, 3, H, W) → (B, C, H/4, W/4)."""
        x = self.conv1(x, relu=True)  # (B, C, H/2, W/2)
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # (B, C, H/4, W/4)


class Staged(nn.Module):
    """Stem and four stages; returns the outputs of all four."""

    stem: nn.Module
    res2: nn.Sequential
    res3: nn.Sequential
    res4: nn.Sequential
    res5: nn.Sequential

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return four maps: (B, 3, H, W) → (B, C_i, H/s, W/s) for s = 4, 8, 16, 32."""
        x = self.stem(x)
        outputs = []
        for stage in (self.res2, self.res3, self.res4, self.res5):
            x = stage(x)  # (B, C_i, H/s, W/s)
            outputs.append(x)
        return outputs


class ResNet(Staged):
    """The stages of residual blocks that ``architecture`` counts."""

    stem: Stem

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        block = BasicBlock if architecture.block == "basic" else BottleneckBlock
        eps = architecture.batch_norm_eps
        self.stem = Stem(architecture)
        channels_in = architecture.stem_channels
        stages = zip(architecture.blocks_per_stage, architecture.stage_channels, strict=True)
        for index, (count, channels) in enumerate(stages):
            first = block(channels_in, channels, 1 if index == 0 else 2, eps)
            others = [block(channels, channels, 1, eps) for _ in range(count - 1)]
            self.add_module(f"res{index + 2}", nn.Sequential(first, *others))
            channels_in = channels
