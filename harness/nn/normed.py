"""Normalisations, and convolutions with one after them.

A checkpoint's names are those of Detectron2: a convolution owns its normalisation as ``norm``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Norm
from harness.nn.boxes import at_least_float32
from harness.nn.convolution import Conv
from harness.nn.operators import deform_conv2d

#: Groups of GroupNorm (Detectron2 ``layers/batch_norm.py`` get_norm).
GROUPS = 32

#: Channels whose squares GroupNorm holds at a time.
SQUARED_CHANNELS = 64

#: Share of a batch's statistics in the running ones (torch.nn.BatchNorm2d).
MOMENTUM = 0.1


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


class BatchNorm(nn.Module):
    """BatchNorm that a training updates; its statistics are those of all processes together.

    In a frozen layer, whose weights ask for no gradient, the running statistics stay as they are;
    and where nothing is learned, as when losses of validation images are measured, in one process
    while the others wait.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) normalised: by its own statistics to learn, else by the kept ones."""
        live = self.training and self.weight.requires_grad and torch.is_grad_enabled()
        kept = (self.running_mean, self.running_var)
        if live and torch.distributed.is_available() and torch.distributed.is_initialized():
            return self._over_all_processes(x)
        return F.batch_norm(x, *kept, self.weight, self.bias, live, MOMENTUM, self.eps)

    def _over_all_processes(self, x: Tensor) -> Tensor:
        from torch.distributed.nn.functional import all_reduce

        values = x.float()
        cells = values.new_tensor([values.numel() / values.shape[1]])
        own = torch.cat((values.sum((0, 2, 3)), values.pow(2).sum((0, 2, 3)), cells))
        total = all_reduce(own)  # with its gradient
        channels, count = values.shape[1], total[-1].clamp(min=1.0)
        mean = total[:channels] / count
        variance = total[channels : 2 * channels] / count - mean.square()
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1.0))
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(unbiased, MOMENTUM)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


class GroupNorm(nn.GroupNorm):
    """GroupNorm that is as exact on maps with the channels last as on contiguous ones.

    On a CPU torch adds up the pixels of such a map one after the other: of 60,000 of them the
    result is a hundred times as far from float64 as that of a contiguous map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W), each group of channels of an image normalised by its own numbers.

        Args:
            x: (B, C, H, W). On a CPU, where no gradient is asked for and the channels are last, the
                caller gives it up: the result is written there, since these are a network's
                largest maps.
        """
        plain = x.is_contiguous() or x.dtype != torch.float32 or torch.is_grad_enabled()
        if plain or x.device.type != "cpu":
            return super().forward(x)
        grouped, each = (len(x), self.num_groups, -1), (*x.shape[:2], 1, 1)
        channels = (1, self.num_groups, x.shape[1] // self.num_groups)
        mean = x.mean((2, 3)).view(grouped).mean(2, keepdim=True)  # (B, G, 1)
        centred = x.sub_(mean.expand(len(x), *channels[1:]).reshape(each))
        # A part at a time: the squares of all of it would be another map.
        parts = [one.square().mean((2, 3)) for one in centred.split(SQUARED_CHANNELS, dim=1)]
        variance = torch.cat(parts, dim=1).view(grouped).mean(2, keepdim=True)
        scale = self.weight.view(channels) * (variance + self.eps).rsqrt()  # (B, G, C / G)
        bias = self.bias.view(1, -1, 1, 1)
        return torch.addcmul(bias, centred, scale.reshape(each), out=centred)


def make_norm(norm: Norm, channels: int, eps: float) -> nn.Module | None:
    """Return a normalisation of so many channels; None where the convolution has a bias instead."""
    match norm:
        case "frozen_bn":
            return FrozenBatchNorm(channels, eps)
        case "bn":
            return BatchNorm(channels, eps)
        case "gn":
            return GroupNorm(GROUPS, channels)
        case "none":
            return None


class NormedConv(Conv):
    """A convolution followed by its normalisation, or with BatchNorm folded into its weights."""

    norm: nn.Module | None

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        norm: Norm,
        eps: float,
        groups: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__(
            channels_in,
            channels,
            kernel,
            stride,
            kernel // 2 * dilation,
            dilation=dilation,
            groups=groups,
            bias=norm == "none",
        )
        self.norm = make_norm(norm, channels, eps)

    def forward(self, x: Tensor, *, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """Convolve, normalise, add, and apply ReLU; as in `Conv`."""
        if self.norm is None:
            return super().forward(x, add=add, relu=relu)
        out = self.normalised(x)  # nothing after a normalisation is part of the convolution
        if add is not None:
            out += add
        return F.relu_(out) if relu else out

    def normalised(self, x: Tensor) -> Tensor:
        """Return the result, normalised: (B, C_in, H, W) → (B, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        if isinstance(self.norm, FrozenBatchNorm) and self.training:
            # Scaling the weights instead of the output costs far less, there and in the gradient.
            scale, shift = self.norm.affine()
            return self._conv_forward(x, self.weight * scale[:, None, None, None], shift)
        assert self.norm is not None
        normalised: Tensor = self.norm(super().forward(x))
        return normalised

    @torch.no_grad()
    def fold(self) -> None:
        """Absorb a BatchNorm into weight and bias, computed in float64 and rounded once."""
        norm = self.norm
        if not isinstance(norm, (FrozenBatchNorm, BatchNorm)):
            return  # GroupNorm's statistics are those of each image
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        # Into the same memory: pages that are new to a process take longer than the arithmetic.
        self.weight.copy_(self.weight.double().mul_(scale[:, None, None, None]))
        self.weight.requires_grad_(False)
        self.bias = nn.Parameter(shift.to(self.weight.dtype), requires_grad=False)
        self.norm = None


class DeformableConv(NormedConv):
    """A convolution whose samples are moved by offsets of their own, without modulation.

    It is torchvision's operator everywhere (Detectron2 ``layers/deform_conv.py`` on a CPU).
    """

    def forward(  # type: ignore[override]  # what is read depends on a second map
        self, x: Tensor, offset: Tensor, *, relu: bool = False
    ) -> Tensor:
        """Convolve, normalise, and apply ReLU.

        Args:
            x: (B, C_in, H, W).
            offset: (B, 2 · kernel², H', W'), how far each sample is moved down and right, in cells.
            relu: Whether negative numbers become 0.

        Returns:
            (B, C, H', W').
        """
        assert not isinstance(self.padding, str)
        sizes = (self.stride, self.padding, self.dilation)
        weight, bias, norm = self.weight, self.bias, self.norm
        if isinstance(norm, FrozenBatchNorm) and self.training:
            scale, bias = norm.affine()
            weight, norm = weight * scale[:, None, None, None], None
        # Nothing less is offered.
        pixels, moves, weight = (at_least_float32(one) for one in (x, offset, weight))
        bias = None if bias is None else at_least_float32(bias)
        out = deform_conv2d(pixels, moves, weight, bias, *sizes).to(x.dtype)
        out = out if norm is None else norm(out)
        return F.relu_(out) if relu else out
