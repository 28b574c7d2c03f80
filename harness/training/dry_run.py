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
    """Seconds of an iteration, peak bytes of the device (or the process on a CPU), and where."""

    seconds: float
    memory_bytes: int
    device_class: str


def measure_iteration(setup: Setup, processes: int, *, clock: Callable[[], float]) -> Measured:
    """The second iteration of one process's share of the batch; the first one warms up.

    What processes tell each other is not in it.
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
