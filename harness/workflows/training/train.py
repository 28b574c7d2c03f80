"""``harness train``: from a request to trained weights, their record and their verdict."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from harness.core.checks import Check, Reference, Tolerance
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
from harness.core.requests.inference import (
    DataSpec,
    EngineOptions,
    EvalRequest,
    InferenceRequest,
    RecipeOverrides,
)
from harness.core.requests.training import TrainRequest
from harness.core.settings import recorded
from harness.data.objects import TrainingSet, training_set
from harness.data.proven import facts_of_dataset, proven_dataset
from harness.files.digest import file_digest
from harness.files.extras import install_command
from harness.files.json import to_plain
from harness.measure.band import departures
from harness.measure.timing import PhaseTimer
from harness.measure.verdict import check_references, conclude, unreferenced
from harness.report.curves import draw_curves
from harness.training.checkpoints import checkpoints
from harness.training.group import launched, train_here, train_in_processes, train_launched
from harness.training.log import METRICS, read_log
from harness.training.run import VALIDATION_IMAGES, WEIGHTS_BEST, WEIGHTS_LAST
from harness.training.setup import Setup
from harness.workflows.evaluation.evaluate import evaluate_job
from harness.workflows.evaluation.resolve import resolve_on
from harness.workflows.runs.files import CHECKPOINTS, EVALUATIONS, LOG, RECORD, RUN
from harness.workflows.runs.folder import Run, announce, log, open_run, utc_now
from harness.workflows.runs.records import read_record, write_record
from harness.workflows.training.job import TrainingJob, plan_lines
from harness.zoo.lock import read_lock

CURVES = "curves.png"

#: Two trainings of one recipe differ more than two evaluations of one checkpoint.
RETRAINING = Tolerance(
    below=0.5, above=0.5, source="chosen: seeds and data order move a retrained AP by some tenths"
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
        RunFailedError: The training diverged, ran out of memory, or the disk is full.
        Interrupted: The user or the system stopped it; a checkpoint is kept.
    """
    facts = facts_of_dataset(job.validation)
    shown = progress()
    for line in plan_lines(job):
        shown.notice(line)
    with open_run(job.request, facts, command=command, now=now, progress=shown) as run:
        for sentence in job.plan.warnings:
            log(run, f"warning: {sentence}")  # the user has seen them with the plan
        for sentence in job.deviations:
            announce(run, f"not comparable: {sentence}")
        for sentence in job.training.left_out:
            announce(run, f"left out: {sentence}")
        setup = setup_of(job, run.folder)
        scoring = Scoring(job=job, folder=run.folder)
        with stopwatch.phase("train"), _continuable(run):
            _train(setup, job.request, progress=progress, shown=shown, scoring=scoring)
        lines = read_log(run.folder)
        for sentence in departures(lines, job.reference, job.plan.schedule.iterations):
            log(run, f"warning: {sentence}")  # the user has seen them while it trained
        if not draw_curves(lines, run.folder / CURVES, reference=job.reference):
            announce(run, f"no curves.png: it needs matplotlib; run: {install_command('plots')}")
        record = _record(job, run, stopwatch)
        log(run, record.verdict.line)
        write_record(run.folder, record)
    return record, run.folder


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """Evaluates weights on the validation data of a job, as ``harness eval`` does."""

    job: TrainingJob
    """The training."""

    folder: Path
    """Its run folder; each evaluation gets a sub-folder."""

    def __call__(self, weights: Path, iteration: int) -> dict[str, float]:
        """Return every number that could be computed, by name."""
        output = _evaluation_folder(self.folder, iteration)
        record = _kept(output, weights)
        if record is None:
            try:
                record = self._evaluated(weights, output)
            except AnotherRunError:  # begun with weights that were lost with a checkpoint
                shutil.rmtree(output)
                record = self._evaluated(weights, output)
            except (RunFailedError, IntegrityError) as error:  # the training is what continues
                raise type(error)(error.message) from error.__cause__
        return {name: value for name, value in record.metrics.items() if value is not None}

    def _evaluated(self, weights: Path, output: Path) -> RunRecord:
        request = _evaluation(self.job, weights, output)
        record, _ = evaluate_job(
            request,
            resolve_on(request.inference, _validation_data(self.job)),
            progress=Silent(),
            command=("harness", "train"),
            now=utc_now(),
            stopwatch=PhaseTimer(_no_clock, lambda: None),
        )
        return record


def _kept(output: Path, weights: Path) -> RunRecord | None:
    """Return the record of the evaluation in ``output``, where it is one of these weights."""
    if not (output / RECORD).exists():
        return None
    try:
        record = read_record(output)
    except IntegrityError:
        record = None
    if (
        record is not None
        and record.checkpoint is not None
        and record.checkpoint.sha256 == file_digest(weights)
    ):
        return record
    shutil.rmtree(output)
    return None


@contextmanager
def _continuable(run: Run) -> Iterator[None]:
    """Add to errors in the block how to continue, once there is a checkpoint to continue from."""
    try:
        yield
    except (Interrupted, RunFailedError) as error:
        again = f"continue with: {run.again}"
        if not checkpoints(run.folder / CHECKPOINTS):
            again = f"nothing was saved yet; start it again with: {shlex.join(run.command)}"
        hint = again if error.hint is None else f"{error.hint}\n  {again}"
        raise type(error)(error.message, hint=hint) from error.__cause__


def _evaluation(job: TrainingJob, weights: Path, output: Path) -> EvalRequest:
    """Return the evaluation of ``weights``, which continues one that an earlier start began."""
    request, numbers = job.request, job.architecture
    runtime = request.runtime
    resized = request.augmentation.short_edge_px is not None
    return EvalRequest(
        inference=InferenceRequest(
            network=replace(request.network, weights=weights),
            data=DataSpec(
                annotations=job.validation.annotations_path, images=job.validation.images_dir
            ),
            options=EngineOptions(
                engine=runtime.engine,
                device=runtime.device,
                loaders=runtime.loaders,
                threads=runtime.threads,
            ),
            recipe=RecipeOverrides(
                short_edge_px=numbers.short_edge_px if resized else None,
                long_edge_max_px=numbers.long_edge_max_px if resized else None,
            ),
        ),
        output=output,
        resume=(output / RUN).exists(),
    )


def _validation_data(job: TrainingJob) -> Dataset:
    """Return the validation data under the name that ``harness eval`` gives files.

    The record of an evaluation, and what it is compared with, is the one of ``harness eval`` with
    the same files. COCO's own files keep COCO's name.
    """
    named = replace(job.validation, name=job.validation.annotations_path.stem)
    return proven_dataset(read_lock(), named, job.request.network.root)


def _evaluation_folder(folder: Path, iteration: int) -> Path:
    return folder / EVALUATIONS / f"iteration-{iteration:07d}"


def _no_clock() -> float:
    return 0.0


def setup_of(job: TrainingJob, folder: Path) -> Setup:
    """Return the job as the training loop needs it.

    Args:
        job: The resolved training.
        folder: The run folder, where its files go.

    Raises:
        UsageError: The best weights are chosen by a loss that no validation image has.
    """
    validation = _validation_images(job)
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
        init_kind=job.init_kind,
        init=job.init,
        reference=job.reference,
        warnings=job.warnings,
    )


def _validation_images(job: TrainingJob) -> TrainingSet:
    """Return the images that validation losses are measured on, no more: the others take memory."""
    if job.validation == job.training.dataset:
        found = job.training
    else:
        found = training_set(job.validation, with_masks=job.architecture.has_masks)
    return replace(found, images=found.images[:VALIDATION_IMAGES])


def _record(job: TrainingJob, run: Run, stopwatch: PhaseTimer) -> RunRecord:
    """Return the record of the finished training, with the numbers of its last evaluation."""
    last = read_record(_evaluation_folder(run.folder, job.plan.schedule.iterations))
    artefacts = {
        "log": LOG,
        "metrics": METRICS,
        "curves": CURVES,
        "weights": WEIGHTS_LAST,
        "best": WEIGHTS_BEST,
    }
    return _training_record(
        run,
        job,
        last,
        stage_times_s=stopwatch.seconds,
        checks=_checks(job, last.dataset.name, last.metrics),
        artefacts={name: path for name, path in artefacts.items() if (run.folder / path).exists()},
    )


def _checks(
    job: TrainingJob, dataset: str, metrics: Mapping[str, float | None]
) -> tuple[Check, ...]:
    references = [_for_retraining(one) for one in job.entry.references]
    checks = check_references(references, metrics, dataset=dataset, deviations=job.deviations)
    main = [f"{task}/AP" for task in job.architecture.tasks]
    return checks + unreferenced(main, metrics, checks)


def _for_retraining(reference: Reference) -> Reference:
    return reference if reference.tolerance is None else replace(reference, tolerance=RETRAINING)


def _training_record(
    run: Run,
    job: TrainingJob,
    evaluation: RunRecord,
    *,
    stage_times_s: Mapping[str, float],
    checks: tuple[Check, ...],
    artefacts: Mapping[str, str],
) -> RunRecord:
    """Return the record of a training: its last evaluation, judged as a retraining."""
    return replace(
        evaluation,
        kind="train",
        run_id=run.run_id,
        created_utc=run.begun.isoformat(timespec="seconds"),
        command=run.command,
        request=to_plain(recorded(job.request)),
        resolved={
            **job.identity,
            "training_data": to_plain(facts_of_dataset(job.training.dataset)),
            "object_counts": {str(key): count for key, count in job.training.object_counts.items()},
            "left_out": list(job.training.left_out),
            "init": None if job.checkpoint is None else to_plain(job.checkpoint),
            "evaluation": evaluation.resolved,
        },
        stage_times_s=dict(stage_times_s),
        protocol_deviations=job.deviations,
        checks=checks,
        verdict=conclude(checks),
        artefacts=dict(artefacts),
    )
