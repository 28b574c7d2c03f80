"""Convolutions together with what comes right after them: a sum, a ReLU.

On a CPU a sum or a ReLU by itself takes about as long as the convolution before it, for both wait
for memory. oneDNN does one of them in the same pass, and the numbers are the same. The operators
are those that torch.compile fuses to (torch/_inductor/mkldnn_lowerings.py).
"""

from __future__ import annotations

from typing import cast

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


class Conv(nn.Conv2d):
    """A convolution. one_pass: with its sum and ReLU, by oneDNN; on a CPU, without gradients."""

    one_pass = False

    def forward(self, x: Tensor, *, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """(B, C_in, H, W) → (B, C, H', W'): convolved, ``add`` added, ReLU.

        add: of the result's shape. The caller gives it up: in one pass the result is written there,
        which spares a network's largest tensors.
        """
        if self.one_pass and in_one_pass(x):
            return self._in_one_pass(x, add, relu)
        out = self.convolve(x)
        if add is not None:
            out += add
        return F.relu_(out) if relu else out

    def convolve(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C, H', W')."""
        return self._conv_forward(x, self.weight, self.bias)

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
    """A transposed convolution with its ReLU. one_pass: as of Conv."""

    one_pass = False

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # no output_size here
        """(B, C_in, H, W) → (B, C, stride·H, stride·W), none below zero."""
        if not (self.one_pass and in_one_pass(x)):
            return F.relu_(super().forward(x))
        sizes = (self.padding, self.output_padding, self.stride, self.dilation, self.groups)
        operator = torch.ops.mkldnn._convolution_transpose_pointwise
        return cast(Tensor, operator(x, self.weight, self.bias, *sizes, *LEAKY))
