"""``harness train``."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.eval import FAILED_VERDICT_EXIT_CODE, print_record
from harness.cli.options import add_answered_settings, request_from
from harness.core.requests.training import TrainRequest

if TYPE_CHECKING:
    from harness.workflows.training.job import TrainingJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of TrainRequest."""
    add_answered_settings(parser, TrainRequest)


def run(arguments: argparse.Namespace) -> int:
    """Show the plan, train, print the table and the verdict, answer the exit code."""
    from harness.measure.timing import PhaseTimer
    from harness.workflows.runs.folder import utc_now
    from harness.workflows.training.job import resolve_training
    from harness.workflows.training.train import follow, train

    job = resolve_training(request_from(TrainRequest, arguments))
    if arguments.dry_run:
        return _rehearse(job, arguments)
    if follow(job):
        return 0
    progress = console.progress_of(arguments)
    for line in _plan_lines(job):
        progress.notice(line)
    record, folder = train(
        job,
        progress=partial(
            console.TerminalProgress, quiet=arguments.quiet, verbose=arguments.verbose
        ),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    if arguments.json:
        console.answer_json(record)
    else:
        print_record(record, arguments, folder)
    return FAILED_VERDICT_EXIT_CODE if record.verdict.outcome == "fail" else 0


def _rehearse(job: TrainingJob, arguments: argparse.Namespace) -> int:
    from harness.workflows.training.dry_run import rehearse

    rehearsal = rehearse(job)
    if arguments.json:
        console.answer_json(rehearsal)
        return 0
    console.answer(*_plan_lines(job))
    console.answer(
        f"measured: {rehearsal.s_per_iteration:.3f} s an iteration on {rehearsal.device}, "
        f"{rehearsal.memory_bytes / 2**30:.2f} GiB; the whole schedule takes about "
        f"{_duration(rehearsal.expected_s)}"
    )
    return 0


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _plan_lines(job: TrainingJob) -> list[str]:
    schedule, published = job.plan.schedule, job.plan.published
    images = len(job.training.images)
    steps = ", ".join(f"{step:,}" for step in schedule.steps)
    return [
        f"{job.entry.name}: {schedule.iterations:,} iterations of {schedule.batch_size} images, "
        f"lr {schedule.learning_rate:g}, ×0.1 at {steps}, warm-up {schedule.warmup:,} "
        f"(published: {published.iterations:,} of {published.batch_size}, "
        f"lr {published.learning_rate:g})",
        f"{images:,} images with {sum(job.training.object_counts.values()):,} objects of "
        f"{len(job.training.object_counts)} categories, "
        f"{schedule.images_seen / images:.1f} epochs; a checkpoint every "
        f"{schedule.checkpoint_period:,} iterations",
        *(f"warning: {sentence}" for sentence in job.plan.warnings),
    ]
