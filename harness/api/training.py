"""Train a model, plan a training, and do a process's share of one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from signal import Signals
from typing import TYPE_CHECKING

from harness.api.calls import Shown, progress_maker, public, shown_by, stopwatch
from harness.api.settings import composed, public_with_settings, typed
from harness.core.clock import utc_now
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.requests.training import TrainRequest
from harness.core.results import RunResult
from harness.core.settings import replaced

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.requests import keywords
    from harness.workflows.training.dry_run import DryRun, Planned


@public_with_settings
def train(
    *,
    progress: Shown | Callable[[], Progress] = False,
    command: Sequence[str] | None = None,
    begun: datetime | None = None,
    checkpoint_signals: Collection[Signals] = (),
    **settings: Unpack[keywords.TrainSettings],
) -> RunResult:
    """Retrain a model, or fine-tune it on data of your own, as ``harness train``.

    Args:
        progress: As in `evaluate`; also what makes one, in the process that shows it.
        command: As in `evaluate`.
        begun: As in `evaluate`.
        checkpoint_signals: Signals that ask for a checkpoint and end nothing, such as the SIGTERM
            by which a cluster says that it may take the job away. Any other signal of a scheduler
            stops the training after the iteration.
        **settings: Those of `TrainRequest`, without ``dry_run``: see `plan_training`. With
            ``processes`` above 1 a script with a ``progress`` of its own needs an
            ``if __name__ == "__main__":``.

    Returns:
        The record of the last evaluation, and the run folder with weights and curves.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.training.group import launched
    from harness.workflows.training.job import resolve_training
    from harness.workflows.training.train import train

    world = launched()
    if world is not None and not world.is_first:
        raise UsageError(
            "a launcher has started this process beside the one that trains",
            hint="call harness.api.follow_training here, or launch the command: harness train",
        )
    request = composed("train", TrainRequest, settings)
    job = replace(resolve_training(request), checkpoint_signals=tuple(checkpoint_signals))
    record, folder = train(
        job,
        progress=progress_maker(progress),
        command=typed(command, "train", request),
        now=begun or utc_now(),
        stopwatch=stopwatch(),
    )
    return RunResult(record=record, folder=folder)


@public_with_settings
def plan_training(
    *,
    progress: Shown = False,
    on_plan: Callable[[Planned], None] | None = None,
    **settings: Unpack[keywords.TrainSettings],
) -> DryRun:
    """Plan a training and measure one iteration of it, as ``harness train --dry-run``.

    It needs neither data nor a checkpoint: what is not there is listed, with the command that
    fetches it, and generated images stand in for it.

    Args:
        progress: As in `evaluate`.
        on_plan: Called with the plan before the iteration is measured, which may take minutes.
        **settings: Those of `train`.

    Returns:
        The schedule, and what it would take; nothing is written.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.training.dry_run import plan_of

    request = composed("plan_training", TrainRequest, settings)
    return plan_of(replaced(request, dry_run=True), shown_by(progress), on_plan)


@public
def follow_training(
    *,
    checkpoint_signals: Collection[Signals] = (),
    **settings: Unpack[keywords.TrainSettings],
) -> None:
    """Do the share of a process that a launcher started beside the one that calls `train`.

    Args:
        checkpoint_signals: Those of `train`, the same in every process.
        **settings: Those of `train`, the same in every process; ``output`` is needed.

    Raises:
        HarnessError: As `train`.
    """
    from harness.workflows.training.job import resolve_training
    from harness.workflows.training.train import follow

    job = resolve_training(composed("train", TrainRequest, settings))
    follow(replace(job, checkpoint_signals=tuple(checkpoint_signals)))
