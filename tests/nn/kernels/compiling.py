"""Compiles every kernel for a card that need not be there, and prints their names.

    python tests/nn/kernels/compiling.py 90

The argument is a compute capability. Nothing is launched: the tensors are on the CPU, and lend
their data types only. Fails where a kernel would be launched on whatever device is the current one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

LAYOUTS = (torch.contiguous_format, torch.channels_last)


class Card:
    """What Triton asks of a driver before it compiles."""

    def get_current_device(self) -> int:
        """The first."""
        return 0

    def get_current_stream(self, _: int) -> int:
        """The default one."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """The card asked for."""
        return GPUTarget("cuda", int(sys.argv[1]), 32)


class Launches:
    """Kernels that were to be launched, by name."""

    def __init__(self) -> None:
        self.compiled: dict[str, Any] = {}
        self.has_device = False
        self.compile = JITFunction.run

    @contextmanager
    def device_of(self, tensor: Tensor) -> Iterator[None]:
        """In place of ``torch.cuda.device_of``."""
        assert isinstance(tensor, Tensor)
        self.has_device = True
        yield
        self.has_device = False

    def run(self, kernel: JITFunction, *arguments: Any, **options: Any) -> None:
        """In place of a launch."""
        name = kernel.__name__
        assert self.has_device, f"{name} is launched on the current device"
        found = self.compile(kernel, *arguments, **{**options, "warmup": True})
        assert found.asm["cubin"], name
        self.compiled[name] = found


def main() -> None:
    """Compile."""
    driver.set_active(Card())
    launches = Launches()
    torch.cuda.device_of = launches.device_of  # type: ignore[assignment,misc]
    JITFunction.run = lambda *given, **options: launches.run(*given, **options)
    convolutions()
    proposals()
    pasting()
    sys.stdout.write(" ".join(sorted(launches.compiled)))


def convolutions() -> None:
    """The kernels of each precision."""
    from harness.nn.kernels import epilogue
    from harness.nn.kernels.pooling import pooled_from_levels

    precisions = [torch.float32, torch.float16]
    if int(sys.argv[1]) >= 80:
        precisions.append(torch.bfloat16)
    for dtype, layout in product(precisions, LAYOUTS):
        out = torch.zeros((1, 8, 4, 4), dtype=dtype).contiguous(memory_format=layout)
        bias = torch.zeros(8, dtype=dtype)
        for given, add, relu in product((None, bias), (None, out.clone()), (False, True)):
            epilogue.finish(out, given, add, relu)
    for dtype, side in product(precisions, (7, 14)):
        maps = [torch.zeros((1, 8, 8, 256), dtype=dtype).permute(0, 3, 1, 2)] * 4
        pooled_from_levels(maps, torch.zeros(1, 5, 4), torch.full((1, 5), 2), side, dtype)
    epilogue.INT32_MAX = 0  # as for more numbers than 32 bits count
    epilogue.finish(out, bias, out.clone(), True)


def proposals() -> None:
    """The kernels that select regions, of tests and of trainings."""
    from harness.nn.kernels.suppression import first_survivors, kept_in_segments

    for count in (1000, 2000):
        starts = torch.tensor([0, count], dtype=torch.int32)
        valid = torch.ones((1, count), dtype=torch.bool)
        kept_in_segments(torch.zeros(1, count, 4), valid, starts, count, 0.7)
    first_survivors(torch.zeros(1, 4096, 4), torch.zeros(1, dtype=torch.int32), 0.5, 100)


def pasting() -> None:
    """The kernels from soft masks to text."""
    from harness.nn.kernels.outlines import outlines
    from harness.nn.kernels.runs import characters

    kept, sizes = torch.ones((1, 9), dtype=torch.bool), torch.full((1, 2), 99, dtype=torch.int32)
    soft, boxes = torch.zeros(9, 28, 28), torch.zeros(1, 9, 4)
    places, _ = outlines(soft, boxes, kept, sizes, 0.5, 1 << 18)
    characters(places, torch.zeros((1, 9), dtype=torch.int32), kept, sizes, 1 << 18)


if __name__ == "__main__":
    main()
