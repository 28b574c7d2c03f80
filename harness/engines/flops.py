"""Operations that torch's counter does not know: of convolutions fused with what follows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import conv_flop_count

Shape = Sequence[int]


def fused_convolutions() -> dict[Any, Callable[..., int]]:
    """Return flops of one call by operator, for the ``custom_mapping`` of torch's FlopCounterMode.

    A multiply-add is two; sums and ReLUs count as none, as everywhere in torch's counter.
    """
    return {
        torch.ops.mkldnn._convolution_pointwise: _convolution,
        torch.ops.mkldnn._convolution_pointwise_: _onto,
        torch.ops.mkldnn._convolution_transpose_pointwise: _transposed,
        torch.ops.aten.cudnn_convolution_relu: _convolution,
        torch.ops.aten.cudnn_convolution_add_relu: _convolution,
    }


def _convolution(x: Shape, weight: Shape, *_: object, out_shape: Shape, **__: Any) -> int:
    return _counted(x, weight, out_shape, transposed=False)


def _onto(_add: Shape, x: Shape, weight: Shape, *_: object, out_shape: Shape, **__: Any) -> int:
    return _counted(x, weight, out_shape, transposed=False)


def _transposed(x: Shape, weight: Shape, *_: object, out_shape: Shape, **__: Any) -> int:
    return _counted(x, weight, out_shape, transposed=True)


def _counted(x: Shape, weight: Shape, out: Shape, *, transposed: bool) -> int:
    return int(conv_flop_count(list(x), list(weight), list(out), transposed=transposed))
