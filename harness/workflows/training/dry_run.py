"""``harness train --dry-run``: the plan, and what it costs on this machine, whatever is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.errors import PrerequisiteError, UsageError
from harness.core.model import ModelEntry, TrainRecipe
from harness.core.progress import Progress
from harness.core.requests.training import TrainRequest
from harness.core.settings import check_settings
from harness.data.categories import COCO_CATEGORIES, COCO_PERSON
from harness.data.objects import TrainingSet
from harness.files.scratch import scratch_folder
from harness.training.dry_run import Measured, measure_iteration, stand_in_data
from harness.training.plan import Plan, Schedule
from harness.training.setup import Setup
from harness.workflows.training.data import (
    has_own_data,
    learned_by,
    training_data,
    training_regions,
    with_proposals,
)
from harness.workflows.training.job import (
    check_division,
    config_of,
    missing_parts,
    planned,
    recipe_of,
    require_trainable,
    resolve_training,
    trained_architecture,
)
from harness.workflows.training.memory import advice
from harness.workflows.training.summary import plan_lines, rhythm, schedule_line
from harness.workflows.training.train import setup_of
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock
from harness.zoo.needed import Missing, fetching, missing_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is known of a training before anything is measured."""

    plan: tuple[str, ...]
    """The plan and its data in sentences, with the warnings."""

    missing: tuple[str, ...] = ()
    """What the training needs and is not there yet."""

    fetch: str | None = None
    """The one command that fetches it; None for nothing."""


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

    is_estimated: bool = False
    """Whether time and memory were measured on one and two images, and carried on to the batch."""

    advice: str | None = None
    """What to do about memory that the machine does not have; None where it has it."""

    epochs: float | None = None
    """Passes over the training images; None where these are not there."""

    measured_on: str = "the training images"
    """What the iteration was measured on."""

    missing: tuple[str, ...] = ()
    """What the training needs and is not there yet."""

    fetch: str | None = None
    """The one command that fetches it; None for nothing."""


OnPlan = Callable[[Planned], None] | None


def plan_of(request: TrainRequest, progress: Progress, on_plan: OnPlan = None) -> DryRun:
    """Return the plan with the time and memory of one measured iteration; nothing is written.

    What is not on disk is listed; generated images and random weights stand in for it.

    Args:
        request: What would be trained.
        progress: Where progress goes.
        on_plan: Called with the plan before the iteration is measured.

    Raises:
        UsageError: An invalid argument, or epochs without the training data.
        IntegrityError: What is there is not what it claims to be.
        RunFailedError: The iteration failed, for instance for want of memory.
    """
    check_settings(request)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    recipe = recipe_of(entry)
    missing = missing_parts(lock, entry, recipe, request)
    if missing:
        return _plan_with_missing_parts(
            request, entry, recipe, missing, progress=progress, on_plan=on_plan
        )
    job = resolve_training(request)
    known = Planned(plan=tuple(plan_lines(job)))
    if on_plan is not None:
        on_plan(known)
    setup = setup_of(job, Path())
    measured = measure_iteration(
        setup, request.runtime.processes, clock=time.perf_counter, progress=progress
    )
    return _dry_run(request, job.plan, known, measured, image_count=len(job.training.images))


def _plan_with_missing_parts(
    request: TrainRequest,
    entry: ModelEntry,
    recipe: TrainRecipe,
    missing: tuple[Missing, ...],
    *,
    progress: Progress,
    on_plan: OnPlan,
) -> DryRun:
    """Return the plan of a training whose data or weights are not all on disk."""
    published = architecture_of(entry.architecture)
    try:
        require_trainable(request, published)
    except PrerequisiteError as error:
        missing = (*missing, Missing(what=error.message))
    training = _training(request, entry, recipe, published)
    plan = _planned(request, recipe, training, missing)
    check_division(request, plan.schedule.batch_size)
    own = has_own_data(request)
    architecture = _architecture(published, request, training)
    config = config_of(request, plan, "random", recipe, architecture)
    every = config.eval_every or 0, config.checkpoint_every
    lines = (
        schedule_line(entry.name, plan, retraining=not own),
        ", ".join(rhythm(*every, iterations=plan.schedule.iterations)),
        *(f"warning: {sentence}" for sentence in plan.warnings),
    )
    known = Planned(
        plan=lines,
        missing=tuple(one.what for one in missing),
        fetch=fetching(missing, request.network.root),
    )
    if on_plan is not None:
        on_plan(known)
    with _data(training, published) as data:
        measured = _measure(
            request, plan, config=config, architecture=architecture, data=data, progress=progress
        )
    return _dry_run(
        request,
        plan,
        known,
        measured,
        image_count=None if training is None else len(training.images),
        measured_on="generated images of 640 × 480 px"
        if training is None
        else "the training images",
    )


def _architecture(
    published: Architecture, request: TrainRequest, training: TrainingSet | None
) -> Architecture:
    """Return the network of a training; with COCO's classes where its data are missing."""
    if training is not None:
        truth = training.dataset.panoptic
        stuff = () if truth is None else truth.stuff
        return trained_architecture(published, request, training.dataset.categories, stuff)
    classes = (COCO_PERSON,) if published.keypoint_count else COCO_CATEGORIES
    return trained_architecture(published, request, classes, ())


def _planned(
    request: TrainRequest,
    recipe: TrainRecipe,
    training: TrainingSet | None,
    missing: tuple[Missing, ...],
) -> Plan:
    """Return the schedule, where the iterations are known without what is missing.

    Raises:
        UsageError: They were asked for as epochs; with everything that is missing.
    """
    asked = request.schedule
    if training is not None or asked.epochs is None or asked.iterations is not None:
        return planned(request, recipe, training)
    command = fetching(missing, request.network.root)
    run = "" if command is None else f"run: {command}, or "
    raise UsageError(
        f"--epochs {asked.epochs:g}: how many images an epoch has is not known without the "
        "training data; missing:\n" + "\n".join(f"  {one.what}" for one in missing),
        hint=f"{run}give --iterations, which needs no data",
    )


def _measure(
    request: TrainRequest,
    plan: Plan,
    *,
    config: TrainRequest,
    architecture: Architecture,
    data: TrainingSet,
    progress: Progress,
) -> Measured:
    """Return what an iteration from random weights takes; the data need not be those of a user."""
    setup = Setup(
        folder=Path(),
        config=config,
        identity={},
        architecture=architecture,
        training=data,
        validation=data,
        schedule=plan.schedule,
        init_kind="random",
        init=None,
    )
    processes = request.runtime.processes
    return measure_iteration(setup, processes, clock=time.perf_counter, progress=progress)


def _training(
    request: TrainRequest, entry: ModelEntry, recipe: TrainRecipe, published: Architecture
) -> TrainingSet | None:
    """Return the training data where they are there.

    Raises:
        IntegrityError: They are there, and not what they claim to be.
    """
    asked = request.data
    if missing_files(asked.train_annotations, asked.train_images, asked.train_panoptic):
        return None
    try:
        learned = training_data(request, recipe, compact=True)
    except (UsageError, PrerequisiteError):
        return None
    if published.is_panoptic and learned.panoptic is None:
        return None
    found = learned_by(published, learned)
    try:
        found, _ = with_proposals(found, training_regions(entry, request))
    except (UsageError, PrerequisiteError):
        return None
    first = learned.images_dir / found.images[0].record.file_name if found.images else None
    return found if first is not None and first.is_file() else None


@contextmanager
def _data(training: TrainingSet | None, published: Architecture) -> Iterator[TrainingSet]:
    """Yield the training data, or generated ones while the block lasts."""
    if training is not None:
        yield training
        return
    with scratch_folder("plan") as folder:
        yield stand_in_data(folder, published)


def _dry_run(
    request: TrainRequest,
    plan: Plan,
    known: Planned,
    measured: Measured,
    *,
    image_count: int | None,
    measured_on: str = "the training images",
) -> DryRun:
    return DryRun(
        schedule=plan.schedule,
        warnings=plan.warnings,
        plan=known.plan,
        device=measured.device_class,
        s_per_iteration=measured.seconds,
        expected_s=measured.seconds * plan.schedule.iterations,
        memory_bytes=measured.memory_bytes,
        is_estimated=measured.image_bytes is not None,
        advice=advice(measured, request.optimizer.accumulate, request.runtime.processes),
        epochs=None if image_count is None else plan.schedule.images_seen / image_count,
        measured_on=measured_on,
        missing=known.missing,
        fetch=known.fetch,
    )
