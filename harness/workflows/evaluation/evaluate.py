"""``harness eval``: from a request to a verdict and its record, one statement a stage."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.checks import Check
from harness.core.engine import Engine, EngineInfo
from harness.core.errors import HarnessError, RunFailedError
from harness.core.garbage_collection import collector_paused
from harness.core.progress import Progress
from harness.core.record import CategoryScore, MetricInterval, RunRecord
from harness.core.requests.inference import SIZES, BenchRequest, EvalRequest
from harness.core.run_files import LOG, PER_CATEGORY, PREDICTIONS, RUN_PAGE, SHARDS
from harness.core.settings import check_settings, recorded
from harness.core.tasks import PROPOSALS, are_proposals, listed_metrics, of_objects
from harness.data.panoptic import PNGS_SHA256, digest_of_pngs
from harness.data.predictions import checked_predictions
from harness.files.environment import read_environment, usable_cpus
from harness.files.failures import reason_of
from harness.files.json import to_plain
from harness.launch.local import prepare_workers
from harness.measure.analysis import TaskAnalysis
from harness.measure.coco import Scores, check_coverage
from harness.measure.parallel import Measuring, Wanted, measuring, ready_children
from harness.measure.proposals import score_proposals
from harness.measure.timing import PhaseTimer
from harness.measure.verdict import UNPINNED, check_references, conclude, unreferenced
from harness.workflows.evaluation.finished import finished_facts
from harness.workflows.evaluation.panoptic import with_maps
from harness.workflows.evaluation.report import write_report
from harness.workflows.evaluation.resolve import Job, open_job_engine, require_job_settings, resolve
from harness.workflows.evaluation.workers import (
    ShardFacts,
    ShardTask,
    infer_share,
    infer_with_workers,
    missing_batches,
    throughput,
    with_threads_of_run,
    worker_modules,
)
from harness.workflows.evaluation.worst_images import THRESHOLD, Analyzed
from harness.workflows.runs.checksums import Line, add_sums, read_sums
from harness.workflows.runs.files import require_own_model
from harness.workflows.runs.folder import Run, announce, keeping, log, open_run, write_record
from harness.workflows.runs.merging import merged_predictions, write_merged
from harness.workflows.runs.panoptic_files import (
    PANOPTIC_FILE,
    SEMANTIC_FILE,
    write_panoptic,
    write_semantic,
)
from harness.workflows.runs.parts import wait_for_writers
from harness.workflows.runs.shards import (
    read_stored,
    shard_paths,
    shard_sums,
)
from harness.workflows.runs.submissions import require_no_jobs
from harness.zoo.model_file import remarks

#: What the record of every evaluation calls a file, and its name.
ARTEFACTS = {
    "predictions": PREDICTIONS,
    "per_category": PER_CATEGORY,
    "shards": SHARDS,
    "log": LOG,
}

#: Of a network that makes maps of segments, too.
MAPS = {"panoptic": PANOPTIC_FILE, "semantic": SEMANTIC_FILE}


def evaluate(
    request: EvalRequest,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
    open_engine: Callable[[Job], Engine] = open_job_engine,
) -> tuple[RunRecord, Path]:
    """Evaluate a model: the record of one accuracy run, and the folder it is in.

    Args:
        request: What to evaluate, and how.
        progress: Where progress and notices go.
        command: What the user typed, for the record and for the line that says how to continue.
        now: When the run began.
        stopwatch: Records wall time by stage.
        open_engine: Opens the engine of an evaluation in this process, which is closed after the
            last image; workers open their own.

    Raises:
        UsageError: An invalid argument.
        PrerequisiteError: Data, weights, a package or a device are missing.
        IntegrityError: Data or weights are not what they claim to be.
        AnotherRunError: The folder has another run.
        RunFailedError: Inference or scoring failed, or the disk is full.
    """
    require_own_model(request)
    with stopwatch.phase("resolve"):
        job = resolve(request.inference)
    return evaluate_job(
        request,
        job,
        progress=progress,
        command=command,
        now=now,
        stopwatch=stopwatch,
        open_engine=open_engine,
    )


def evaluate_job(
    request: EvalRequest,
    job: Job,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
    open_engine: Callable[[Job], Engine] = open_job_engine,
) -> tuple[RunRecord, Path]:
    """Evaluate a resolved request; nothing of ``job`` is read or proven again."""
    if request.workers:
        prepare_workers(worker_modules(job))
    check_settings(request)
    if not request.resume:  # before there is a folder
        require_job_settings(job)
    with open_run(
        request, job.dataset_facts, job.checkpoint, command=command, now=now, progress=progress
    ) as run:
        require_no_jobs(run.folder)
        job = with_threads_of_run(job, run.folder)
        _announce(job, run)
        with stopwatch.phase("infer"), keeping(run), collector_paused():
            wait_for_writers(run.folder, run.progress.notice)
            missing = missing_batches(job, run.folder, notice=run.progress.notice)
            facts = None if missing else finished_facts(job, run.folder)
            if facts is None:
                require_job_settings(job)
        if facts is not None:
            announce(run, "every image was inferred before: no engine is opened")
        elif request.workers is None:
            facts = _infer_here(job, run, missing, stopwatch, open_engine)
        else:
            with stopwatch.phase("infer"), keeping(run):
                facts = infer_with_workers(job, run, missing, request.workers)
        # To its end: resumed earlier, the collector would search all predictions at once.
        with collector_paused():
            record = conclude_run(request, job, run, facts, stopwatch)
    return record, run.folder


def conclude_run(
    request: EvalRequest, job: Job, run: Run, facts: Sequence[ShardFacts], stopwatch: PhaseTimer
) -> RunRecord:
    """Merge the shards, score them, and write the record.

    Args:
        request: What was asked for.
        job: The same, resolved.
        run: The open run folder.
        facts: Facts of the workers that filled the shards.
        stopwatch: Records wall time by stage.

    Raises:
        IntegrityError: A shard is damaged, or lacks images.
        RunFailedError: Scoring failed.
    """
    with stopwatch.phase("merge"), keeping(run):
        stored = read_stored(shard_paths(run.folder), notice=lambda text: log(run, text))
        lines = [line for _, line in stored]
        check_coverage(job.dataset.image_ids, [line["image_id"] for line in lines])
        maps = _write_maps(job, run.folder, lines)
        predictions, texts = merged_predictions(lines, [raw for raw, _ in stored])
        del stored, lines
    with ExitStack() as measuring_ends:
        finished = measuring_ends.enter_context(_finishing_files(run, texts))
        with stopwatch.phase("score"):
            begun = _measuring(request, job, predictions, run)
            measured = measuring_ends.enter_context(begun)
            scores, odd = _score(request, job, measured, run)
        with stopwatch.phase("merge"), keeping(run):
            shards = finished.result()
        record = _write_evaluation_record(
            request,
            job,
            run,
            facts=facts,
            stopwatch=stopwatch,
            scores=scores,
            odd=odd,
            maps=maps,
            shards=shards,
        )
        if request.report and not are_proposals(record.metrics):  # without an AP to be explained
            _write_page(job, run, record, predictions, lambda: measured.analyses(scores.curves))
    return record


def _write_evaluation_record(
    request: EvalRequest,
    job: Job,
    run: Run,
    *,
    facts: Sequence[ShardFacts],
    stopwatch: PhaseTimer,
    scores: Scores,
    odd: Sequence[str],
    maps: Mapping[str, str],
    shards: Mapping[str, str],
) -> RunRecord:
    """Put the record of an evaluation together, and write it."""
    add_sums(run.folder, shards, below=SHARDS)
    record = record_of(
        run,
        request,
        job,
        facts[0].engine,
        metrics={**scores.metrics, **throughput(facts)},
        per_category=scores.per_category,
        intervals=scores.intervals,
        stage_times_s=stopwatch.seconds,
        deviations=job.deviations,
        checks=accuracy_checks(job, scores),
        artefacts={**ARTEFACTS, **(MAPS if maps else {})},
        notes=tuple(dict.fromkeys((*(note for one in facts for note in one.notes), *odd))),
        sha256={PREDICTIONS: read_sums(run.folder)[PREDICTIONS], **maps, **shards},
        **_annotated_maps(job),
    )
    for sentence in record.notes:
        announce(run, f"note: {sentence}")
    log(run, record.verdict.line)
    write_record(run.folder, record)
    return record


def _write_page(
    job: Job,
    run: Run,
    record: RunRecord,
    predictions: Sequence[Mapping[str, Any]],
    analyses: Callable[[], tuple[TaskAnalysis, ...]],
) -> None:
    """Write the page of an evaluation; ``analyses`` waits for what explains its AP."""
    write_report(
        lambda: Analyzed(
            folder=run.folder,
            page=run.folder / RUN_PAGE,
            record=record,
            annotations=job.dataset.ground_truth,
            predictions=predictions,
            tasks=analyses(),
        ),
        run.progress,
    )


@contextmanager
def _finishing_files(run: Run, texts: Sequence[bytes]) -> Iterator[Future[dict[str, str]]]:
    """Write the predictions and hash the shards, in a thread that is waited for in the end.

    Yields:
        The sha256 of each shard, when all of that is done.

    Raises:
        RunFailedError: The block failed and the files as well: its advice may be to read them.
    """

    def finish() -> dict[str, str]:
        write_merged(run.folder / PREDICTIONS, texts)
        return shard_sums(run.folder)

    with ThreadPoolExecutor(1, thread_name_prefix="files") as pool:
        finished = pool.submit(finish)
        try:
            yield finished
        except Exception:
            with keeping(run):
                finished.result()
            raise


def _annotated_maps(job: Job) -> dict[str, str]:
    """Return the hash of the annotated maps: what they were scored against."""
    truth = job.dataset.panoptic
    return {} if truth is None else {PNGS_SHA256: digest_of_pngs(truth, job.dataset.image_ids)}


def _write_maps(job: Job, folder: Path, lines: Sequence[Line]) -> dict[str, str]:
    """Write the maps of segments of a run that has them; return the sha256 of their files."""
    truth = job.dataset.panoptic
    if truth is None:
        return {}
    digest = write_panoptic(folder, lines, job.dataset.images, truth.things, truth.stuff)
    return {PANOPTIC_FILE: digest, SEMANTIC_FILE: write_semantic(folder, lines, truth.stuff)}


def _infer_here(
    job: Job,
    run: Run,
    missing: Sequence[tuple[int, ...]],
    stopwatch: PhaseTimer,
    open_engine: Callable[[Job], Engine],
) -> list[ShardFacts]:
    with stopwatch.phase("open engine"):
        engine = open_engine(job)
    with closing(engine), stopwatch.phase("infer"), keeping(run):
        images = tuple(image for batch in missing for image in batch)
        task = ShardTask(request=job.request, folder=run.folder, number=0, image_ids=images)
        return [infer_share(job, engine, task, run.progress)]


def accuracy_checks(job: Job, scores: Scores) -> tuple[Check, ...]:
    """Return every measured accuracy compared with the references of the model and data set."""
    checks = check_references(
        job.entry.references,
        scores.metrics,
        dataset=job.dataset.name,
        deviations=job.deviations,
    )
    listed = listed_metrics(job.architecture.tasks)
    return checks + unreferenced(listed, scores.metrics, checks)


def _announce(job: Job, run: Run) -> None:
    for sentence in job.dataset.warnings:
        announce(run, f"data: {sentence}")
    published = any(one.dataset == job.dataset.name for one in job.entry.references)
    for sentence in sentences_on(job, job.deviations, published=published):
        announce(run, sentence)


def sentences_on(job: Job, deviations: Sequence[str], *, published: bool) -> Iterator[str]:
    """Yield what a user should know of the weights, and why numbers cannot be compared.

    Of data of one's own no checkpoint is pinned, and nothing is published for other sizes.

    Args:
        job: What will be computed.
        deviations: Deviations of the job, or of its speed.
        published: Whether there are numbers that it could be compared with.
    """
    yield from remarks(False, job.stated)  # that a file was changed is among the deviations
    quiet = () if published else (UNPINNED, *(() if job.stated is None else SIZES))
    for sentence in deviations:
        if not sentence.startswith(quiet):
            yield f"not comparable: {sentence}"


@contextmanager
def _measuring(
    request: EvalRequest, job: Job, predictions: list[dict[str, Any]], run: Run
) -> Iterator[Measuring]:
    """Check the predictions, and begin to measure them."""
    with ExitStack() as stack:
        with _scoring(run):
            content, proposals = job.dataset.ground_truth, job.architecture.tasks == (PROPOSALS,)
            # Their lines come from files, which another run, or a disk, may have changed.
            where = str(run.folder / PREDICTIONS)
            processes = 1 if proposals else usable_cpus()
            ready = stack.enter_context(ready_children(len(predictions), processes))
            checked = checked_predictions(predictions, content, where=where)
            wanted = Wanted(
                annotations=content,
                predictions=checked,
                tasks=of_objects(job.architecture.tasks),
                image_ids=job.dataset.image_ids,
                evaluator=request.evaluator,
                resamples=request.certainty.resamples,
                threshold=THRESHOLD if request.report else None,
            )
            found = stack.enter_context(measuring(wanted, processes=processes, ready=ready))
        yield found


def _score(
    request: EvalRequest, job: Job, measured: Measuring, run: Run
) -> tuple[Scores, tuple[str, ...]]:
    """Return all numbers, and sentences about what was odd in the data."""
    with _scoring(run):
        if job.architecture.tasks == (PROPOSALS,):
            predictions = measured.wanted.predictions
            content = job.dataset.ground_truth
            metrics = score_proposals(content, predictions, job.dataset.image_ids)
            return Scores(metrics=metrics, per_category=()), ()
        scores = measured.with_intervals(measured.scores())
        truth, images = job.dataset.panoptic, job.dataset.images
        return with_maps(scores, truth, run.folder, images, request.certainty.resamples)


@contextmanager
def _scoring(run: Run) -> Iterator[None]:
    """Say what a failure of scoring means for a run.

    Raises:
        RunFailedError: Anything but a HarnessError was raised in the block.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raise RunFailedError(
            f"scoring failed: {reason_of(error)}",
            hint="no prediction is lost; score them again with: harness score "
            + shlex.quote(str(run.folder)),
        ) from error


def _computed_by(engine: EngineInfo) -> dict[str, Any]:
    """Return what was resolved for the device that computed, which may be none of this machine."""
    return {"memory_format": engine.memory_format or "contiguous"}


def record_of(
    run: Run,
    request: EvalRequest | BenchRequest,
    job: Job,
    engine: EngineInfo,
    *,
    metrics: Mapping[str, float | None],
    per_category: Sequence[CategoryScore] = (),
    intervals: Mapping[str, MetricInterval] | None = None,
    stage_times_s: Mapping[str, float],
    deviations: tuple[str, ...],
    checks: tuple[Check, ...],
    artefacts: Mapping[str, str],
    sha256: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    **resolved: Any,
) -> RunRecord:
    """Return the record of an evaluation or a benchmark.

    Args:
        metrics: Numbers by name; None for one that cannot be computed.
        intervals: How sure the APs among them are.
        deviations: What makes the numbers not comparable.
        artefacts: Names of files in the run folder.
        sha256: Hashes of files in the run folder.
        **resolved: Added to what the job resolved.
    """
    return RunRecord(
        kind="eval" if isinstance(request, EvalRequest) else "bench",
        run_id=run.run_id,
        created_utc=run.begun.isoformat(timespec="seconds"),
        harness_version=__version__,
        command=run.command,
        request=to_plain(recorded(request)),
        resolved={**job.resolved, **_computed_by(engine), **resolved},
        engine=engine,
        checkpoint=job.checkpoint,
        dataset=job.dataset_facts,
        environment=read_environment(),
        metrics=dict(metrics),
        per_category=tuple(per_category),
        intervals=dict(intervals or {}),
        stage_times_s=dict(stage_times_s),
        protocol_deviations=deviations,
        notes=tuple(notes),
        checks=checks,
        verdict=conclude(checks, require_reference=request.require_reference),
        artefacts=dict(artefacts),
        sha256=dict(sha256 or {}),
    )
