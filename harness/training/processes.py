"""One process or many: who computes which part of a batch, and what they tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

#: Others wait for the first process while it evaluates.
PATIENCE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class World:
    """The place of this process among ``size``; rank 0 logs, evaluates and saves."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True for the process that writes files and talks to the user."""
        return self.rank == 0

    def mean_count(self, count: int) -> float:
        """The mean of a count over all processes."""
        return float(self.mean(torch.tensor([float(count)]))[0])

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of a vector over all processes; it stays on its device."""
        if self.size == 1:
            return values
        total = values.to(_reducing_device())
        dist.all_reduce(total)
        return (total / self.size).to(values.device)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def share(self, batch_size: int) -> slice:
        """The part of a global batch that this process trains on."""
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)


def join(rank: int, size: int, device: torch.device, address: str) -> World:
    """Enter the group of ``size`` processes that meet at ``address`` (tcp://host:port)."""
    if size > 1:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=address,
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
        )
    return World(rank, size)


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _reducing_device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
