"""What comes right after a convolution, in one pass over its result: bias, a sum, ReLU.

By themselves they are three kernels, and each reads and writes the whole map.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Numbers a program computes.
BLOCK = 1024

#: Largest place that 32 bits hold: the stage of most cells passes it with 125 images of 800 px.
INT32_MAX = 2**31 - 1


def finish(out: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    """Add bias and ``add`` to ``out``, then apply ReLU, in place; NaN stays NaN.

    Args:
        out: (B, C, H, W), contiguous or channels last.
        bias: (C,), or None.
        add: Map of the shape of ``out``, or None; copied where its layout is another.
        relu: Whether negative numbers become 0.

    Returns:
        ``out``.

    Raises:
        ValueError: ``out`` is neither contiguous nor channels last.
    """
    last = out.is_contiguous(memory_format=torch.channels_last)
    if not (last or out.is_contiguous()):
        raise ValueError("a convolution's result is contiguous or channels last")
    if add is not None:
        layout = torch.channels_last if last else torch.contiguous_format
        add = add.contiguous(memory_format=layout)
    total, channels, cells = out.numel(), out.shape[1], out.shape[2] * out.shape[3]
    with torch.cuda.device_of(out):
        _finish[(triton.cdiv(total, BLOCK),)](
            out,
            out if bias is None else bias,
            out if add is None else add,
            total,
            channels,
            1 if last else cells,
            BIAS=bias is not None,
            ADD=add is not None,
            RELU=relu,
            WIDE=total > INT32_MAX - BLOCK,
            BLOCK=BLOCK,
            num_warps=4,
        )
    return out


@triton.jit(do_not_specialize=["total", "channels", "cells"])
def _finish(  # type: ignore[no-untyped-def]
    out,
    bias,
    add,
    total,
    channels,
    cells,
    BIAS: tl.constexpr,
    ADD: tl.constexpr,
    RELU: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute one block of numbers; ``cells`` is the distance from one channel to the next."""
    block = tl.program_id(0)
    if WIDE:
        block = block.to(tl.int64)
    place = block * BLOCK + tl.arange(0, BLOCK)
    inside = place < total
    value = tl.load(out + place, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        channel = (place // cells) % channels
        value += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(add + place, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        value = tl.where(value < 0.0, 0.0, value)
    tl.store(out + place, value, mask=inside)
