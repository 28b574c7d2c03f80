"""The peak rate of the device, measured where and as the network computes.

Products and a copy, in the same process, on the same device, with the same threads and the
same switches of torch. The best of REPEATS after one that is not counted: what disturbs a
measurement only ever makes it slower, and a peak is what is possible.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from harness.core.engine import EngineInfo
from harness.engines.devices import DTYPES
from harness.measure.profile import Peak

REPEATS = 10

#: Rows and columns of the square matrices, pixels on a side of the picture: milliseconds of work,
#: so that neither the time of a call nor another process's turn matters.
SIDE_CPU, SIDE_CUDA = 1024, 8192
PICTURE_CPU_PX, PICTURE_CUDA_PX = 64, 512

#: Channels of the picture: the width of the networks' pyramid.
CHANNELS = 256

#: Bytes of the tensor that is copied: beyond what most caches hold.
COPIED_BYTES = 256 * 2**20

Clock = Callable[[], float]


@torch.inference_mode()
def measure_peak(info: EngineInfo, *, settle: Callable[[], None], clock: Clock) -> Peak:
    """Measure the peak of a device, at the precision of an engine.

    The product of two N × N matrices is 2·N³ operations; a k × k convolution of P pixels, C
    channels in and out, is the product of P × C·k² and C·k² × C. The fastest of _products counts.
    A copy of n bytes moves 2·n.

    Args:
        info: Names the device and the precision.
        settle: Waits for the device.
        clock: Returns seconds.
    """
    device = torch.device(info.device)
    rates = {
        name: flops / _best_s(work, settle, clock)
        for name, (flops, work) in _products(device, DTYPES[info.precision]).items()
    }
    fastest = max(rates, key=lambda name: rates[name])
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    copy_s = _best_s(lambda: target.copy_(source), settle, clock)
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


def _best_s(work: Callable[[], object], settle: Callable[[], None], clock: Clock) -> float:
    """Return seconds of the fastest of REPEATS, after one that is not counted."""
    work()
    best = float("inf")
    for _ in range(REPEATS):
        settle()
        begun = clock()
        work()
        settle()
        best = min(best, clock() - begun)
    return best
