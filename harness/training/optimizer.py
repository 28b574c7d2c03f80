"""SGD as the zoo uses it, AdamW, reduced precision, and a moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.core.engine import Precision
from harness.core.requests.training import Optimiser
from harness.nn.normed import BatchNorm
from harness.nn.rcnn import RCNN
from harness.training.plan import MOMENTUM, WEIGHT_DECAY

#: The dtype of autocast; None leaves everything in fp32.
AUTOCAST: dict[Precision, torch.dtype | None] = {
    "fp32": None,
    "tf32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def freeze(network: RCNN, stages: int) -> None:
    """Freeze the first stages of the backbone (BACKBONE.FREEZE_AT).

    Args:
        network: It is changed.
        stages: 0 freezes nothing, 1 the stem, 2 also res2, up to 5.
    """
    parts = network.staged.parts
    if network.architecture.neck == "c4":
        parts.append(network.roi_heads.res5)
    for part in parts[:stages]:
        part.requires_grad_(False)


def make_optimiser(
    network: nn.Module, kind: Optimiser = "sgd", weight_decay: float = WEIGHT_DECAY
) -> torch.optim.Optimizer:
    """Return the optimiser of all parameters that are not frozen.

    Its learning rate is 0 until ``set_rate``. The numbers of a normalisation do not decay
    (SOLVER.WEIGHT_DECAY_NORM); frozen BatchNorm has none, and then everything decays.

    Args:
        network: What is trained.
        kind: SGD with the zoo's momentum, or AdamW.
        weight_decay: Weight decay of every other parameter.
    """
    norms = {
        id(one)
        for module in network.modules()
        if isinstance(module, (BatchNorm, nn.GroupNorm))
        for one in module.parameters()
    }
    every = [one for one in network.parameters() if one.requires_grad]
    steady = [one for one in every if id(one) in norms]
    trained: list[Any] = [one for one in every if id(one) not in norms]
    if steady:
        trained = [{"params": trained}, {"params": steady, "weight_decay": 0.0}]
    if kind == "adamw":
        return torch.optim.AdamW(trained, lr=0.0, weight_decay=weight_decay)
    return torch.optim.SGD(trained, lr=0.0, momentum=MOMENTUM, weight_decay=weight_decay)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute forward passes of the block in a precision.

    Args:
        precision: Precision of the arithmetic.
        device: Where the network is.
    """
    dtype = AUTOCAST[precision]
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        yield


class MovingAverage:
    """Exponential moving average of a network's parameters, often a steadier model than the last.

    The decay grows from 0 towards its final value, so that the random start is forgotten.

    Attributes:
        decay: The final decay, 0 to 1.
        count: Updates so far.
        average: The averages by name, of all parameters that are not frozen.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start with the network's parameters.

        Args:
            network: What is trained.
            decay: The final decay, 0 to 1.
        """
        self.decay = decay
        self.count = 0
        self.average = {
            name: value.detach().clone()
            for name, value in network.named_parameters()
            if value.requires_grad
        }

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average a little towards the network's parameters."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        parameters = dict(network.named_parameters())
        kept = list(self.average.values())
        torch._foreach_lerp_(kept, [parameters[name] for name in self.average], 1 - decay)

    def state(self) -> dict[str, object]:
        """Return what ``restore`` needs; the tensors are not copied."""
        return {"count": self.count, "average": self.average}

    def restore(self, state: dict[str, object]) -> None:
        """Continue from ``state``, as ``state()`` returned it."""
        self.count = int(state["count"])  # type: ignore[call-overload]
        saved: dict[str, Tensor] = state["average"]  # type: ignore[assignment]
        for name, value in self.average.items():
            value.copy_(saved[name])
