"""What a computation costs: learned numbers, operations, bytes, time, and the peak of the device.

The peak is measured where and as the network computes: products and a copy, in the same process, on
the same device, with the same threads and the same switches of torch. The best of REPEATS after one
that is not counted: what disturbs a measurement only ever makes it slower, and a peak is what is
possible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from harness.core.detections import Image
from harness.core.engine import Engine, EngineInfo
from harness.engines.devices import DTYPES
from harness.engines.observed import parameters_by_stage
from harness.measure.profile import Peak
from harness.measure.timing import NULL_STOPWATCH, Clock


class Cost(NamedTuple):
    """Of one image."""

    parameters: int
    """Learned numbers of the network."""

    flops: float
    """Convolutions and matrix products, a multiply-add is two; mean over the images."""

    seconds: float
    """From the resized image to encoded detections; median over the images, the engine warm."""


def cost_of(engine: Engine, images: Sequence[Image], *, clock: Callable[[], float]) -> Cost:
    """Return the cost of an engine's network.

    Args:
        engine: With a network.
        images: One or more; each is inferred alone.
        clock: Returns seconds.

    Raises:
        UsageError: The engine has no network.
    """
    prepared = [engine.prepare(image, NULL_STOPWATCH) for image in images]
    parameters = sum(parameters_by_stage(engine).values())
    with FlopCounterMode(display=False, custom_mapping=fused_convolutions()) as counter:
        for one in prepared:
            engine.infer([one], NULL_STOPWATCH)
    engine.infer([prepared[0]], NULL_STOPWATCH)
    times = []
    for one in prepared:
        engine.synchronize()
        begun = clock()
        engine.infer([one], NULL_STOPWATCH)
        engine.synchronize()
        times.append(clock() - begun)
    return Cost(parameters, counter.get_total_flops() / len(prepared), median(times))


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


#: Operators that write their first argument without reading it.
OVERWRITING = ("aten::copy_", "aten::fill_", "aten::zero_")

#: Operators that reserve memory and leave it as it is; and a view that does not call itself one.
UNTOUCHING = (
    *("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty"),
    "aten::_unsafe_view",
)


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is untyped
    """While active, adds up the bytes of every operator's tensors, read and written once each.

    An operator that returns a view of its argument moves nothing; neither does one that only
    reserves memory. Not seen: what a kernel reads twice or keeps to itself, and NumPy.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's is untyped
        self.moved_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator, and count its tensors."""
        given = dict(kwargs or {})
        with self:  # an operator made of others, as inference mode passes them on, is its parts
            answer = func.decompose(*args, **given)
        if answer is not NotImplemented:
            return answer
        answer = func(*args, **given)
        if not _moves_nothing(func):
            given.pop("out", None)
            read = args[1:] if func._schema.name in OVERWRITING else args
            self.moved_bytes += _bytes((read, given)) + _bytes(answer)
        return answer


def _moves_nothing(func: Any) -> bool:
    """Return whether memory is only reserved, or the result is a view of an argument."""
    returned = func._schema.returns
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in returned)
    return is_view or func._schema.name in UNTOUCHING


def _bytes(tree: Any) -> int:
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


REPEATS = 10

#: Rows and columns of the square matrices, pixels on a side of the picture: milliseconds of work,
#: so that neither the time of a call nor another process's turn matters.
SIDE_CPU, SIDE_CUDA = 1024, 8192
PICTURE_CPU_PX, PICTURE_CUDA_PX = 64, 512

#: Channels of the picture: the width of the networks' pyramid.
CHANNELS = 256

#: Bytes of the tensor that is copied: beyond what most caches hold.
COPIED_BYTES = 256 * 2**20


@torch.inference_mode()
def measure_peak(info: EngineInfo, *, synchronize: Callable[[], None], clock: Clock) -> Peak:
    """Measure the peak of a device, at the precision of an engine.

    The product of two N × N matrices is 2·N³ operations; a k × k convolution of P pixels, C
    channels in and out, is the product of P × C·k² and C·k² × C. The fastest of _products counts.
    A copy of n bytes moves 2·n.

    Args:
        info: Names the device and the precision.
        synchronize: Waits for the device.
        clock: Returns seconds.
    """
    device = torch.device(info.device)
    rates = {
        name: flops / _best_s(work, synchronize, clock)
        for name, (flops, work) in _products(device, DTYPES[info.precision]).items()
    }
    fastest = max(rates, key=lambda name: rates[name])
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    copy_s = _best_s(lambda: target.copy_(source), synchronize, clock)
    return Peak(
        flops_per_s=rates[fastest],
        bytes_per_s=2 * COPIED_BYTES / copy_s,
        product=fastest,
        copy=f"{COPIED_BYTES // 2**20} MiB",
        repeats=REPEATS,
    )


def _products(
    device: torch.device, dtype: torch.dtype
) -> dict[str, tuple[float, Callable[[], object]]]:
    """Return one product in torch's three ways, each with its operations.

    They end in different libraries and kernels: on one processor convolutions reached three times
    the rate of matrix products in fp32, on others it is the same.
    """
    on_gpu = device.type == "cuda"
    side, picture_px = (SIDE_CUDA, PICTURE_CUDA_PX) if on_gpu else (SIDE_CPU, PICTURE_CPU_PX)
    matrix = torch.rand(side, side, dtype=dtype, device=device)
    ways: dict[str, tuple[float, Callable[[], object]]] = {
        f"matrix product, {side} × {side}": (2.0 * side**3, lambda: torch.mm(matrix, matrix))
    }
    shape = (1, CHANNELS, picture_px, picture_px)
    picture = torch.rand(shape, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    for kernel in (1, 3):
        filters = torch.rand(CHANNELS, CHANNELS, kernel, kernel, dtype=dtype, device=device)
        filters = filters.to(memory_format=torch.channels_last)
        ways[
            f"{kernel} × {kernel} convolution, {CHANNELS} channels, {picture_px} × {picture_px}"
        ] = (
            2.0 * (CHANNELS * kernel * picture_px) ** 2,
            partial(F.conv2d, picture, filters, padding=kernel // 2),
        )
    return ways


def _best_s(work: Callable[[], object], synchronize: Callable[[], None], clock: Clock) -> float:
    """Return seconds of the fastest of REPEATS, after one that is not counted."""
    work()
    best = float("inf")
    for _ in range(REPEATS):
        synchronize()
        begun = clock()
        work()
        synchronize()
        best = min(best, clock() - begun)
    return best
