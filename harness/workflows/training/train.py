"""``harness train``: from a request to trained weights, their record and their verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.dataset import Dataset
from harness.core.errors import (
    AnotherRunError,
    IntegrityError,
    Interrupted,
    RunFailedError,
    UsageError,
)
from harness.core.progress import Progress, Silent
from harness.core.record import RunRecord
from harness.core.requests.training import TrainRequest
from harness.core.run_files import EVALUATIONS, RECORD
from harness.data.objects import TrainingSet
from harness.data.run_dataset import facts_of_dataset
from harness.files.extras import install_command
from harness.measure.curve_band import departures
from harness.measure.timing import PhaseTimer
from harness.report.curves import draw_curves
from harness.training.group import launched, train_here, train_in_processes, train_launched
from harness.training.log import read_log
from harness.training.run import VALIDATION_IMAGES
from harness.training.setup import Setup
from harness.training.weight_files import WEIGHTS_BEST
from harness.workflows.evaluation.report import write_report_again
from harness.workflows.runs.files import has_checkpoint
from harness.workflows.runs.folder import (
    Run,
    announce,
    log,
    next_step,
    open_run,
    read_record,
    write_record,
)
from harness.workflows.runs.same_data import require_same_data
from harness.workflows.training.data import learned_by, published_proposals, with_proposals
from harness.workflows.training.job import TrainingJob
from harness.workflows.training.memory import require_memory
from harness.workflows.training.sample import draw_progress
from harness.workflows.training.scoring import TEST, Scoring, evaluation_folder
from harness.workflows.training.summary import (
    CURVES,
    TrainingSummary,
    plan_lines,
    summarise,
    training_record,
)


def train(
    job: TrainingJob,
    *,
    progress: Callable[[], Progress],
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
) -> tuple[RunRecord, Path]:
    """Train a model and evaluate it.

    Args:
        job: The resolved training.
        progress: Makes the progress of the process that shows it.
        command: What the user typed, for the record and for the line that says how to continue.
        now: When the run began.
        stopwatch: Records wall time by stage.

    Returns:
        The record of the training, and the folder of its weights.

    Raises:
        AnotherRunError: The folder has another training.
        IntegrityError: A file of the data was removed or changed, or is damaged.
        RunFailedError: The training diverged, ran out of memory, or the disk is full.
        Interrupted: The user or the system stopped it; a checkpoint is kept.
    """
    facts = facts_of_dataset(job.validation)
    shown = progress()
    for line in plan_lines(job):
        shown.notice(line)
    setup = setup_of(job, Path())  # data that cannot be used are found before there is a folder
    require_memory(setup, progress=shown)
    with open_run(
        job.request, facts, job.checkpoint, command=command, now=now, progress=shown
    ) as run:
        for sentence in job.plan.warnings:
            log(run, f"warning: {sentence}")  # the user has seen them with the plan
        for sentence in job.deviations:
            if job.is_retraining:
                announce(run, f"not comparable: {sentence}")
        for sentence in job.training.left_out:
            announce(run, f"left out: {sentence}")
        _require_same_data(job, run)
        setup = replace(setup, folder=run.folder)
        scoring = Scoring(job=job, folder=run.folder)
        with stopwatch.phase("train"), _continuable(run):
            _train(setup, job.request, progress=progress, shown=shown, scoring=scoring)
        record = _finished(job, run, scoring, stopwatch)
    return record, run.folder


def _require_same_data(job: TrainingJob, run: Run) -> None:
    """Check that evaluations of an earlier start, from which the best is chosen, are of these data.

    Of those between, the newest stands for all, as each start checks it. Times of modification are
    no reason to refuse: a copy need not keep them.

    Raises:
        AnotherRunError: Validation or test data were replaced since.
    """
    folder = run.folder
    between = [one.parent for one in sorted((folder / EVALUATIONS).glob(f"iteration-*/{RECORD}"))]
    ended = folder / EVALUATIONS / TEST
    done = [(one, job.validation) for one in between[-1:]]
    if job.test is not None and (ended / RECORD).exists():
        done.append((ended, job.test))
    for place, dataset in done:
        try:
            require_same_data(place, dataset, notice=run.progress.notice)
        except IntegrityError as error:
            if isinstance(error, AnotherRunError):
                raise
            # A damaged evaluation is made again.


def _finished(job: TrainingJob, run: Run, scoring: Scoring, stopwatch: PhaseTimer) -> RunRecord:
    """Evaluate on the test data, draw, and write the record of a training that came to its end."""
    lines = read_log(run.folder)
    for sentence in departures(lines, job.reference, job.plan.schedule.iterations):
        log(run, f"warning: {sentence}")  # the user has seen them while it trained
    with stopwatch.phase("test"), _continuable(run):
        test = scoring.on_test_data(run.folder / WEIGHTS_BEST)
    last = read_record(evaluation_folder(run.folder, job.plan.schedule.iterations))
    summary = summarise(job, run.folder, lines, last, test)
    _draw(job, run, lines, summary)
    with stopwatch.phase("report"):
        write_report_again(evaluation_folder(run.folder, summary.best_iteration), run.progress)
    record = training_record(run, job, last, summary, stage_times_s=stopwatch.seconds)
    log(run, record.verdict.line)
    write_record(run.folder, record)
    return record


def _draw(
    job: TrainingJob, run: Run, lines: Sequence[Mapping[str, Any]], summary: TrainingSummary
) -> None:
    """Draw the curves, and the sample of images with the first, the best and the last weights."""
    title = f"{job.entry.name} on {job.training.dataset.name}, {len(job.training.images):,} images"
    path = run.folder / CURVES
    if not draw_curves(lines, path, title=title, reference=job.reference):
        announce(run, f"no curves.png: it needs matplotlib; run: {install_command('plots')}")
    draw_progress(job, run.folder, summary.best_iteration, partial(announce, run))


def follow(job: TrainingJob) -> bool:
    """Do the share of a process that was launched beside the first, which holds the run.

    Returns:
        False, with nothing done, in the first process and in one that was started by hand.

    Raises:
        UsageError: No --output is given, which alone the processes can agree on.
    """
    world = launched()
    if world is None:
        return False
    if job.request.output is None:
        raise UsageError("launched processes can only agree on a given --output")
    if world.is_first:
        return False
    folder = job.request.output
    scoring = Scoring(job=job, folder=folder)  # never called here: the first process evaluates
    train_launched(setup_of(job, folder), world, progress=Silent(), evaluate=scoring)
    return True


def _train(
    setup: Setup,
    request: TrainRequest,
    *,
    progress: Callable[[], Progress],
    shown: Progress,
    scoring: Scoring,
) -> None:
    if request.runtime.engine == "detectron2":
        from harness.training.detectron2 import train_with_detectron2

        train_with_detectron2(setup, progress=shown, evaluate=scoring)
    elif (world := launched()) is not None:
        train_launched(setup, world, progress=shown, evaluate=scoring)
    elif request.runtime.processes == 1:
        train_here(setup, progress=shown, evaluate=scoring)
    else:
        train_in_processes(setup, request.runtime.processes, progress=progress, evaluate=scoring)


@contextmanager
def _continuable(run: Run) -> Iterator[None]:
    """Add to errors in the block how to continue, once there is a checkpoint to continue from."""
    try:
        yield
    except AnotherRunError:
        raise  # asking again would not help
    except (Interrupted, RunFailedError, IntegrityError) as error:
        again = next_step(run)
        if isinstance(error, IntegrityError) and has_checkpoint(run.folder):
            again = f"when every file is as it was, {again}"  # an image was moved away, or so
        hint = again if error.hint is None else f"{error.hint}\n  {again}"
        raise type(error)(error.message, hint=hint) from error.__cause__


def setup_of(job: TrainingJob, folder: Path) -> Setup:
    """Return the job as the training loop needs it.

    Args:
        job: The resolved training.
        folder: The run folder, where its files go.

    Raises:
        UsageError: The best weights are chosen by a loss that no validation image has.
    """
    validation = _first_images(job, job.validation)
    if job.config.best_by == "loss" and not validation.images:
        raise UsageError(
            f"--best-by loss: {job.validation.annotations_path} has no object to measure losses on",
            hint="leave it out, or choose other validation data",
        )
    return Setup(
        folder=folder,
        config=job.config,
        identity=job.identity,
        architecture=job.architecture,
        training=job.training,
        validation=validation,
        schedule=job.plan.schedule,
        test=None if job.test is None else _first_images(job, job.test),
        begins_with_evaluation=not job.is_retraining and job.init_kind == "model",
        init_kind=job.init_kind,
        init=job.init,
        reference=job.reference,
        checkpoint_signals=job.checkpoint_signals,
    )


def _first_images(job: TrainingJob, dataset: Dataset) -> TrainingSet:
    """Return the images that losses are measured on, no more: the others take memory."""
    learned = job.training.dataset
    maps = [None if one.panoptic is None else one.panoptic.digest for one in (dataset, learned)]
    same = dataset == learned and maps[0] == maps[1]
    found = job.training if same else learned_by(job.architecture, dataset)
    first = replace(found, images=found.images[:VALIDATION_IMAGES])
    if not job.architecture.given_proposals:
        return first
    given = job.proposals_of(dataset) or published_proposals(job.entry, job.request.network.root)
    return with_proposals(first, given)[0]
