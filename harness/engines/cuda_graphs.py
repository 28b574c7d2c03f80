"""CUDA graphs of one function, by the shape of its arguments.

A graph launches all kernels of an image at once: the host, which takes longer to launch them one
by one than the chip to compute them, has nothing to do. It holds addresses, so it has its own
input, into which the real one is copied; and it is of one shape, so there is one for each.

A shape gets its graph when it comes the second time: the first time runs the function itself,
which compiles kernels and fills caches, and many a shape never comes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.files.failures import lacks_gpu_memory

#: Graphs kept; val2017 has about 40 padded shapes.
MOST = 64

#: Share of the card's memory that has to be free for another graph; chosen, not measured: one
#: image in fp32 took 0.62 GiB on an H200 (docs/measured.md), a tenth of a card of 6 GiB.
FREE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _Captured:
    """A graph with the memory it reads and writes."""

    graph: torch.cuda.CUDAGraph
    """The graph."""

    inputs: tuple[Tensor, ...]
    """Where arguments are copied before it runs."""

    output: Tensor
    """Where its result is afterwards."""


class Graphs:
    """Runs ``function``: from the graph of the shapes of its arguments, once that is captured.

    The graphs share one pool of memory, so the output of one is only valid until the next runs:
    the caller copies it in the same stream. Of too many graphs the least recently used is dropped.

    Args:
        function: From tensors to one tensor, without a wait for the device.
        device: Where it computes.
        notice: Called with a sentence when graphs are given up.
        most: Graphs kept.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        device: torch.device,
        notice: Callable[[str], None],
        *,
        most: int = MOST,
    ) -> None:
        self._function = function
        self._device = device
        self._notice = notice
        self._most = most
        self._seen: set[tuple[torch.Size, ...]] = set()
        self._captured: OrderedDict[tuple[torch.Size, ...], _Captured] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._given_up = False
        self._is_full = False

    def __len__(self) -> int:
        return len(self._captured)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return what the function returns for ``inputs``."""
        shape = tuple(one.shape for one in inputs)
        found = self._captured.get(shape)
        if found is None and shape in self._seen and self._has_room():
            found = self._capture(shape, inputs)
        self._seen.add(shape)
        if found is None:
            return self._function(*inputs)
        self._captured.move_to_end(shape)
        for ours, given in zip(found.inputs, inputs, strict=True):
            ours.copy_(given)
        found.graph.replay()
        return found.output

    def give_up(self, reason: str) -> None:
        """Free all graphs and make no more; the function computes the same."""
        if not self._given_up:
            self._notice(f"CUDA graphs were given up, kernels are launched one by one: {reason}")
        self._given_up = True
        torch.cuda.synchronize(self._device)  # one of them may be running
        self._captured.clear()
        torch.cuda.empty_cache()

    def _has_room(self) -> bool:
        if self._given_up:
            return False
        free, total = torch.cuda.mem_get_info(self._device)
        if free <= FREE_SHARE * total and not self._is_full:
            self._is_full = True
            self._notice(
                f"no more CUDA graphs than {len(self)}: {free / total:.0%} of the GPU's memory is "
                f"free, another takes {FREE_SHARE:.0%}; other shapes are launched kernel by kernel"
            )
        return free > FREE_SHARE * total

    def _capture(self, shape: tuple[torch.Size, ...], inputs: Sequence[Tensor]) -> _Captured | None:
        """Return the graph of a shape; None when there is no memory for it, or it cannot be made.

        Nothing is computed by capturing. Other threads may use the device meanwhile.
        """
        if len(self._captured) >= self._most:
            self._captured.popitem(last=False)
        try:
            self._captured[shape] = self._made(inputs)
        except RuntimeError as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason = "out of memory" if lacks_gpu_memory(error) else said
        else:
            return self._captured[shape]
        self.give_up(f"{reason} while one was made")  # no traceback holds memory any longer
        return None

    def _made(self, inputs: Sequence[Tensor]) -> _Captured:
        own = tuple(torch.empty_like(one) for one in inputs)
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = self._function(*own)
                graph.capture_end()
            except BaseException:
                self._end_failed(graph)
                raise
        current.wait_stream(self._stream)
        return _Captured(graph, own, output)

    def _end_failed(self, graph: torch.cuda.CUDAGraph) -> None:
        """End a capture in which something failed; the error that matters is the first.

        Where CUDA has broken it off, torch still keeps memory for it, and gives none back until
        that ends, too. Each call fails where there is nothing left to end.
        """
        with suppress(RuntimeError):
            graph.capture_end()
        with suppress(RuntimeError, AttributeError):  # it is not of torch's public functions
            torch._C._cuda_endAllocateToPool(self._device.index, self._pool)
