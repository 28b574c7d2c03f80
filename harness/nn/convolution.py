"""Convolutions together with what comes right after them: a sum, a ReLU.

On a CPU a sum or a ReLU by itself takes about as long as the convolution before it, for both wait
for memory. oneDNN does one of them in the same pass, and the numbers are the same. The operators
are those that torch.compile fuses to (torch/_inductor/mkldnn_lowerings.py).

On a GPU cuDNN computes all of them in one call; where its ReLU would hide a NaN, or there is
nothing else to save, one Triton kernel after the convolution does (``nn.kernels.epilogue``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Whether this torch was built with oneDNN, and has the fused operators.
ONE_PASS_AVAILABLE = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name)
    for name in (
        "_convolution_pointwise",
        "_convolution_pointwise_",
        "_convolution_transpose_pointwise",
    )
)

#: Whether oneDNN computes in bf16 on this processor; it needs AVX-512 or AVX-NE-CONVERT.
BF16_IN_ONE_PASS = ONE_PASS_AVAILABLE and torch.ops.mkldnn._is_mkldnn_bf16_supported()

#: oneDNN's ReLU makes 0 of NaN: a network that overflowed would find nothing instead of failing.
#: Its leaky one keeps NaN, and with this slope what is below zero is lost in any sum it enters.
LEAKY = ("leaky_relu", [1e-30], "")


def in_one_pass(x: Tensor) -> bool:
    """Return whether oneDNN's fused operators take ``x``: not without elements, not any dtype."""
    return x.numel() > 0 and (x.dtype != torch.bfloat16 or BF16_IN_ONE_PASS)


class GpuPasses(NamedTuple):
    """How a GPU computes what comes after a convolution."""

    finish: Callable[[Tensor, Tensor | None, Tensor | None, bool], Tensor]
    """``nn.kernels.epilogue.finish``: adds bias and sum, then ReLU, in one kernel."""

    in_one_call: bool
    """Whether cuDNN does it together with the convolution, where there is a ReLU."""

    by_product: bool
    """Whether a 1×1 convolution is a matrix product, and a sum part of it."""


class Conv(nn.Conv2d):
    """A convolution with the sum and the ReLU that follow it.

    Attributes:
        one_pass: Whether oneDNN computes all of it at once; on a CPU, without gradients.
        gpu_passes: How a GPU does; None for one operator after the other.
    """

    one_pass = False
    gpu_passes: GpuPasses | None = None

    def forward(self, x: Tensor, *, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """Convolve, add, and apply ReLU.

        Args:
            x: (B, C_in, H, W).
            add: (B, C, H', W'), or None. The caller gives it up: in one pass the result is written
                there, which saves memory for a network's largest tensors.
            relu: Whether negative numbers become 0.

        Returns:
            (B, C, H', W').
        """
        if self.one_pass and in_one_pass(x):
            return self._in_one_pass(x, add, relu)
        if self.gpu_passes is not None and x.numel():
            return self._on_gpu(self.gpu_passes, x, add, relu)
        out = self.convolve(x)
        if add is not None:
            out += add
        return F.relu_(out) if relu else out

    def convolve(self, x: Tensor) -> Tensor:
        """Return the convolution alone: (B, C_in, H, W) → (B, C, H', W')."""
        return self._conv_forward(x, self.weight, self.bias)

    def _on_gpu(self, passes: GpuPasses, x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        if passes.by_product and self.kernel_size == (1, 1) and self.groups == 1:
            return passes.finish(self._as_product(x, add), self.bias, None, relu)
        sizes: tuple[Any, ...] = (self.stride, self.padding, self.dilation, self.groups)
        operators = torch.ops.aten
        if relu and passes.in_one_call:
            given = (x, self.weight)
            if add is None:
                return cast(Tensor, operators.cudnn_convolution_relu(*given, self.bias, *sizes))
            onto = operators.cudnn_convolution_add_relu
            return cast(Tensor, onto(*given, add, 1.0, self.bias, *sizes))
        out = F.conv2d(x, self.weight, None, *sizes)
        if self.bias is None and add is None and not relu:
            return out
        return passes.finish(out, self.bias, add, relu)

    def _as_product(self, x: Tensor, add: Tensor | None) -> Tensor:
        """Return a 1×1 convolution of contiguous maps without its bias, plus ``add``."""
        down, across = self.stride
        x = x[:, :, ::down, ::across]  # (B, C_in, H', W')
        batch, _, height, width = x.shape
        columns = x.flatten(2)  # (B, C_in, H'·W'), copied where cells were left out
        weight = self.weight.flatten(1).expand(batch, -1, -1)  # (B, C, C_in)
        if add is None:
            return torch.bmm(weight, columns).view(batch, -1, height, width)
        return torch.baddbmm(add.flatten(2), weight, columns).view(batch, -1, height, width)

    def _in_one_pass(self, x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        shape = (self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
        operators = torch.ops.mkldnn
        if add is None:
            then = LEAKY if relu else ("none", [], "")
            return cast(Tensor, operators._convolution_pointwise(x, *shape, *then))
        onto = operators._convolution_pointwise_.binary
        out = cast(Tensor, onto(add, x, *shape, "add", 1.0, None, [], None))
        return F.relu_(out) if relu else out  # only the hiding ReLU could be had with a sum


class Deconv(nn.ConvTranspose2d):
    """A transposed convolution with its ReLU.

    Attributes:
        one_pass: As in `Conv`.
        gpu_passes: As in `Conv`.
    """

    one_pass = False
    gpu_passes: GpuPasses | None = None

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # no output_size here
        """Return the result: (B, C_in, H, W) → (B, C, stride·H, stride·W), none below zero."""
        if self.gpu_passes is not None and x.numel():
            out = self._convolve_without_bias(x)
            return self.gpu_passes.finish(out, self.bias, None, True)
        if not (self.one_pass and in_one_pass(x)):
            return F.relu_(super().forward(x))
        sizes = (self.padding, self.output_padding, self.stride, self.dilation, self.groups)
        operator = torch.ops.mkldnn._convolution_transpose_pointwise
        return cast(Tensor, operator(x, self.weight, self.bias, *sizes, *LEAKY))

    def _convolve_without_bias(self, x: Tensor) -> Tensor:
        sizes: tuple[Any, ...] = (self.stride, self.padding)
        return F.conv_transpose2d(x, self.weight, None, *sizes)


def cudnn_keeps_nan(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> bool:
    """Return whether cuDNN's convolution with ReLU exists, and gives NaN for NaN.

    That is tried once: it depends on cuDNN's version, the GPU and the precision.

    Args:
        device: A GPU.
        dtype: Precision of the network.
        layout: Memory layout of its maps.
    """
    x = torch.full((1, 64, 8, 8), torch.nan, dtype=dtype, device=device)
    weight = torch.ones((64, 64, 3, 3), dtype=dtype, device=device)
    bias = torch.zeros(64, dtype=dtype, device=device)
    given = (x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout))
    sizes = ((1, 1), (1, 1), (1, 1), 1)
    operators = torch.ops.aten
    try:
        alone = operators.cudnn_convolution_relu(*given, bias, *sizes)
        onto = operators.cudnn_convolution_add_relu(*given, alone, 1.0, bias, *sizes)
        return bool(alone.isnan().all()) and bool(onto.isnan().all())
    except RuntimeError:  # no engine of cuDNN does it in this precision and layout
        return False
