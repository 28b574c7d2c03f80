"""One iteration on the real device with the real data, for its time and memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from harness.engines.devices import device_class
from harness.training.group import prepared_device
from harness.training.processes import World
from harness.training.run import peak_memory_bytes, training_batches
from harness.training.setup import Setup, build_trainer
from harness.training.step import run_iteration


class Measured(NamedTuple):
    """Time and memory of one iteration."""

    seconds: float
    """Of the iteration."""

    memory_bytes: int
    """Peak of the device; of the process on a CPU."""

    device_class: str
    """The device's product name."""


def measure_iteration(setup: Setup, processes: int, *, clock: Callable[[], float]) -> Measured:
    """Measure the second iteration of one process's share of the batch; the first one warms up.

    Communication between processes is not included.

    Args:
        setup: Of the training; nothing is written to its folder.
        processes: Number of processes the batch is split over.
        clock: Returns seconds.

    Raises:
        RunFailedError: A loss is not finite.
    """
    share = World(0, processes)
    device = prepared_device(setup, share)
    trainer, _ = build_trainer(setup, device, World())
    with closing(training_batches(setup, trainer, share)) as samples:
        run_iteration(trainer, next(samples))
        begun = clock()
        logged = run_iteration(trainer, next(samples))
        float(logged["total_loss"])  # waits for the device
        seconds = clock() - begun
    return Measured(seconds, peak_memory_bytes(device), device_class(device))
