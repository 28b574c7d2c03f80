"""A process of a training whose memory runs out, among others that have enough."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from harness.core.progress import Silent
from harness.nn.fpn import FPN

#: Its iteration, from 1.
ITERATION = 3


class Failing:
    """Makes the progress of a training; where it arrives in another process, it has that fail.

    Args:
        ranks: The processes that fail.
    """

    def __init__(self, *ranks: int) -> None:
        self.ranks = ranks

    def __call__(self) -> Silent:
        """Show nothing."""
        return Silent()

    def __setstate__(self, state: dict[str, tuple[int, ...]]) -> None:
        self.__dict__.update(state)
        plain, passes = FPN.forward, iter(range(1, 100))

        def forward(backbone: FPN, pixels: Tensor) -> list[Tensor]:
            fails = dist.is_initialized() and dist.get_rank() in self.ranks
            if fails and torch.is_grad_enabled() and next(passes) == ITERATION:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return plain(backbone, pixels)

        FPN.forward = forward  # type: ignore[method-assign]
