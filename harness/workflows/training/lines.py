"""The plan of a training in sentences, for those who start it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.training.plan import Plan, Schedule
from harness.workflows.training.job import TrainingJob


def plan_lines(job: TrainingJob) -> list[str]:
    """Return the plan and its data in sentences, as they are shown before a training."""
    return [
        schedule_line(job.entry.name, job.plan, retraining=job.is_retraining),
        data_line(job),
        *(f"warning: {sentence}" for sentence in job.plan.warnings),
    ]


def schedule_line(model: str, plan: Plan, *, retraining: bool) -> str:
    """Return the schedule in a sentence; beside the published one where that is retrained."""
    schedule, published = plan.schedule, plan.published
    sentence = (
        f"{model}: {schedule.iterations:,} iterations of {schedule.batch_size} images, "
        f"lr {schedule.learning_rate:g}{_steps(schedule)}, warm-up {schedule.warmup:,}"
    )
    if not retraining:
        return sentence
    return (
        f"{sentence} (published: {published.iterations:,} of {published.batch_size}, "
        f"lr {published.learning_rate:g})"
    )


def data_line(job: TrainingJob) -> str:
    """Return images, objects, epochs, evaluations and checkpoints in a sentence."""
    images = len(job.training.images)
    objects = sum(job.training.object_counts.values())
    return (
        f"{images:,} images with {objects:,} objects of {len(job.training.object_counts)} "
        f"categories, {job.plan.schedule.images_seen / images:.1f} epochs; "
        + ", ".join(rhythm(job.config.eval_every or 0, job.config.checkpoint_every))
    )


def rhythm(eval_every: int, checkpoint_every: int | None) -> Iterator[str]:
    """Yield when a training evaluates and when it saves a checkpoint."""
    yield f"an evaluation every {eval_every:,} iterations" if eval_every else "one evaluation"
    yield (
        "a checkpoint every 10 minutes"
        if checkpoint_every is None
        else f"a checkpoint every {checkpoint_every:,} iterations"
    )


def _steps(schedule: Schedule) -> str:
    steps = ", ".join(f"{step:,}" for step in schedule.steps)
    return f", ×0.1 at {steps}" if steps else ""
