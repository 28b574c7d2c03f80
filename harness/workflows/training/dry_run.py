"""``harness train --dry-run``: what the plan costs on this machine, from one measured iteration."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from harness.training.dry_run import measure_iteration
from harness.training.plan import Schedule
from harness.workflows.training.job import TrainingJob
from harness.workflows.training.train import setup_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """s_per_iteration: of the first process's share. memory_bytes: peak of device, or process."""

    schedule: Schedule
    warnings: tuple[str, ...]
    device: str
    s_per_iteration: float
    expected_s: float
    memory_bytes: int


def rehearse(job: TrainingJob) -> Rehearsal:
    """The plan with the time and memory of an iteration; nothing is written."""
    setup = setup_of(job, Path())
    measured = measure_iteration(setup, job.request.runtime.processes, clock=time.perf_counter)
    return Rehearsal(
        schedule=job.plan.schedule,
        warnings=job.plan.warnings,
        device=measured.device_class,
        s_per_iteration=measured.seconds,
        expected_s=measured.seconds * job.plan.schedule.iterations,
        memory_bytes=measured.memory_bytes,
    )
