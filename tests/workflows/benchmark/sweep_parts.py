"""How cells of test_sweep are measured; importable by name, as their parent demands."""

from __future__ import annotations

import os
import signal
import time

from harness.core.engine import Engine
from harness.core.errors import RunFailedError
from harness.workflows.benchmark.sweep_cell import CellTask, measure_cell, measure_with
from harness.workflows.evaluation.resolve import Job, open_job_engine


def measure_but_bf16(task: CellTask) -> None:
    """Write down who was measured; bf16 fails."""
    with (task.folder.parents[1] / "measured.txt").open("a", encoding="utf-8") as file:
        file.write(f"{task.folder.name}\n")
    if task.job.request.options.precision == "bf16":
        raise RunFailedError("too few bits\nand more to say")
    measure_cell(task)


def measure_and_stop_at_fp16(task: CellTask) -> None:
    """As a user would who presses Ctrl-C while fp16 is measured for the first time."""
    once = task.folder.parents[1] / "stopped"
    if task.job.request.options.precision == "fp16" and not once.exists():
        once.touch()
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
    measure_but_bf16(task)


#: What the engine of a cell did otherwise than asked.
NOTE = "torch emulates it, and the eager path computes"


def measure_with_a_note(task: CellTask) -> None:
    """An engine that has something to say."""

    def opened(job: Job) -> Engine:
        engine = open_job_engine(job)
        engine.notes = [NOTE]  # type: ignore[attr-defined]
        return engine

    measure_with(task, open_engine=opened, clock=time.perf_counter)


def refuse(task: CellTask) -> None:
    """Nothing can be measured."""
    raise RunFailedError(f"{task.folder.name} is beyond us")
