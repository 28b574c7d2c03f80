"""Whether a batch fits into the memory of a machine without a GPU, and which option makes it fit.

Where memory ends there, the system ends the process without reporting an error.
"""

from __future__ import annotations

import time

from harness.core.errors import UsageError
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.engines.devices import find_device
from harness.files.environment import free_memory_bytes, memory_bytes
from harness.training.dry_run import MOST_AT_ONCE, Measured, measure_iteration
from harness.training.group import launched
from harness.training.setup import Setup

#: Part of a machine's memory that a training may take: the system and its files need some, too.
#: Chosen.
USABLE = 0.9

#: What has as much memory for a pixel of its resized images is not measured before it begins.
#: Chosen: 3.6 times what R50-FPN takes while it learns, 35.3 GiB for 16 images of 800 × 1333 px.
MOST_BYTES_A_PIXEL = 8000


def require_memory(setup: Setup, *, progress: Progress) -> None:
    """Check that the batches of a training fit into this machine before it begins, on a CPU.

    Measured are one image and two, where a whole part of the batch might not fit; a training whose
    parts are of so few begins at once.

    Args:
        setup: Setup of the training; nothing is written to its folder.
        progress: Shows the measurement, and a warning where other programs have the memory.

    Raises:
        UsageError: They do not fit; with the option that makes them fit.
    """
    if not _is_in_doubt(setup):
        return
    runtime, parts = setup.config.runtime, setup.config.optimizer.accumulate
    progress.notice("this batch might take all memory: one image and two are measured first")
    measured = measure_iteration(
        setup, runtime.processes, clock=time.perf_counter, progress=progress, warmed=False
    )
    taken = measured.memory_bytes * runtime.processes
    needed = f"{_batch(setup)} takes about {taken / 2**30:.1f} GiB"
    if (said := advice(measured, parts, runtime.processes)) is not None:
        raise UsageError(f"{needed}, and the system would end the training", hint=said)
    free = free_memory_bytes()
    if taken > free:
        progress.notice(
            f"warning: {needed}, and other programs leave {free / 2**30:.1f} GiB free: end them, "
            "or raise --accumulate"
        )


def advice(measured: Measured, parts: int, processes: int = 1) -> str | None:
    """Which option makes a batch fit into this machine; None where it fits.

    Args:
        measured: An iteration of one process.
        parts: A batch is computed in so many.
        processes: They share a batch, and the machine.
    """
    has = int(memory_bytes() * USABLE) // processes
    if measured.image_bytes is None or measured.memory_bytes <= has:
        return None
    at_once = measured.at_once
    says = f"this machine has {memory_bytes() / 2**30:.1f} GiB"
    if measured.image_bytes > 0:
        over = -(-(measured.memory_bytes - has) // measured.image_bytes)  # images too many
        for images in range(at_once - over, 0, -1):
            if at_once % images == 0:
                needed = measured.memory_bytes - measured.image_bytes * (at_once - images)
                whole = needed * processes / 2**30
                return (
                    f"{says}: --accumulate {parts * at_once // images} computes the same batch in "
                    f"parts of {counted(images, 'image')}, in about {whole:.1f} GiB"
                )
    return f"{says}, and one image takes more: lower --short-edge, or train on a GPU"


def _at_once(setup: Setup) -> int:
    """Images that a process computes at once."""
    config = setup.config
    return setup.schedule.batch_size // config.runtime.processes // config.optimizer.accumulate


def _is_in_doubt(setup: Setup) -> bool:
    runtime, numbers, at_once = setup.config.runtime, setup.architecture, _at_once(setup)
    pixels = numbers.short_edge_px * numbers.long_edge_max_px * at_once * runtime.processes
    return (
        runtime.engine == "native"
        and at_once > MOST_AT_ONCE
        and launched() is None  # the others of a launcher may be on other machines
        and pixels * MOST_BYTES_A_PIXEL > free_memory_bytes()
        and find_device(runtime.device).type == "cpu"
    )


def _batch(setup: Setup) -> str:
    parts = setup.config.optimizer.accumulate
    of = f" in {parts} parts" if parts > 1 else ""
    return f"a batch of {counted(setup.schedule.batch_size, 'image')}{of}"
