"""One process or many: which part of a batch each computes, and what they exchange."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

#: How long the other processes wait for the first one while it evaluates.
LONGEST_WAIT = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class World:
    """This process among all processes of a training."""

    rank: int = 0
    """From 0; rank 0 logs, evaluates and saves."""

    size: int = 1
    """Number of processes."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports to the user."""
        return self.rank == 0

    def mean_count(self, count: int) -> float:
        """Return the mean of ``count`` over all processes."""
        return float(self.mean(torch.tensor([float(count)]))[0])

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of a vector over all processes.

        Args:
            values: Values of the same length in all processes.

        Returns:
            The mean, on the device of ``values``.
        """
        if self.size == 1:
            return values
        total = values.to(_reducing_device())
        dist.all_reduce(total)
        return (total / self.size).to(values.device)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            dist.barrier()

    def share(self, batch_size: int) -> slice:
        """Return the part of a global batch that this process trains on."""
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)


def join(rank: int, size: int, device: torch.device, address: str) -> World:
    """Join a group of processes.

    Args:
        rank: Rank of this process, from 0.
        size: Number of processes; 1 needs no group.
        device: Device of this process; it chooses the backend.
        address: Where the processes meet (``tcp://host:port``, ``env://``).
    """
    if size > 1:
        # Torch says it of 1×1 convolutions, whose two layouts are the same bytes in the same order.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=address,
            rank=rank,
            world_size=size,
            timeout=LONGEST_WAIT,
        )
    return World(rank, size)


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _reducing_device() -> torch.device:
    """Return the device on which the backend can compute sums."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
