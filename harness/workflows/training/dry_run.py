"""``harness train --dry-run``: what the plan costs on this machine, from one measured iteration."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from harness.training.dry_run import measure_iteration
from harness.training.plan import Schedule
from harness.workflows.training.job import TrainingJob, plan_lines
from harness.workflows.training.train import setup_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A planned training and one measured iteration of it."""

    schedule: Schedule
    """Iterations, batch, learning rate and its steps."""

    warnings: tuple[str, ...]
    """What is unusual about the plan, one sentence each."""

    plan: tuple[str, ...]
    """The plan and its data in sentences, with the warnings."""

    device: str
    """Product name of the device."""

    s_per_iteration: float
    """Seconds of one iteration of the first process's share."""

    expected_s: float
    """Seconds the whole schedule would take, evaluations not counted."""

    memory_bytes: int
    """Peak memory of the device, on a CPU of the process."""


def plan_of(job: TrainingJob) -> DryRun:
    """Return the plan with the time and memory of one measured iteration; nothing is written.

    Raises:
        RunFailedError: The iteration failed, for instance for want of memory.
    """
    setup = setup_of(job, Path())
    measured = measure_iteration(setup, job.request.runtime.processes, clock=time.perf_counter)
    return DryRun(
        schedule=job.plan.schedule,
        warnings=job.plan.warnings,
        plan=tuple(plan_lines(job)),
        device=measured.device_class,
        s_per_iteration=measured.seconds,
        expected_s=measured.seconds * job.plan.schedule.iterations,
        memory_bytes=measured.memory_bytes,
    )
