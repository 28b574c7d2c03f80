"""``harness eval``: from a request to a verdict, one statement a stage."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.core.checks import Check
from harness.core.engine import Engine
from harness.core.errors import HarnessError, RunFailedError
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.requests import EvalRequest
from harness.data.coco import read_annotations
from harness.measure.coco import Scores, check_coverage, score
from harness.measure.timing import PhaseTimer
from harness.measure.verdict import check_references, unreferenced
from harness.pipeline.inference import identity_of, infer_missing
from harness.pipeline.records import record_of, write_record
from harness.pipeline.resolve import Job, open_job_engine, resolve
from harness.pipeline.run_folder import (
    LOG,
    PER_CATEGORY,
    PREDICTIONS,
    SHARDS,
    Run,
    announce,
    keeping,
    log,
    open_run,
)
from harness.pipeline.shards import open_shard, read_lines, write_predictions

SHARD = f"{SHARDS}/0000.jsonl"
ARTEFACTS = {
    "predictions": PREDICTIONS,
    "per_category": PER_CATEGORY,
    "shard": SHARD,
    "log": LOG,
}


def evaluate(
    request: EvalRequest,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
    open_engine: Callable[[Job], Engine] = open_job_engine,
) -> tuple[RunRecord, Path]:
    """The record of one accuracy run, and the folder it lies in.

    command: what the user typed, for the record and for the line that says how to continue. now:
    when the run began. stopwatch: books wall time by stage for the record.
    """
    with stopwatch.phase("resolve"):
        job = resolve(request.inference)
    with open_run(request, job.dataset_facts, command=command, now=now, progress=progress) as run:
        _announce(job, run)
        with stopwatch.phase("open engine"):
            engine = open_engine(job)
        shard_path = run.folder / SHARD
        with stopwatch.phase("infer"), open_shard(shard_path, identity_of(job, engine)) as shard:
            with keeping(run):
                infer_missing(job, engine, shard, progress)
                check_coverage(job.dataset.image_ids, shard.finished)
            engine.close()
        with stopwatch.phase("merge"):
            predictions = write_predictions(run.folder / PREDICTIONS, read_lines([shard_path]))
        with stopwatch.phase("score"):
            scores = _score(request, job, predictions, run)
        record = record_of(
            run,
            request,
            job,
            engine.info,
            metrics=scores.metrics,
            per_category=scores.per_category,
            stage_times_s=stopwatch.seconds,
            deviations=job.deviations,
            checks=accuracy_checks(job, scores),
            artefacts=ARTEFACTS,
        )
        log(run, record.verdict.line)
        write_record(run.folder, record)
    return record, run.folder


def accuracy_checks(job: Job, scores: Scores) -> tuple[Check, ...]:
    """Every measured accuracy against the references of the model and data set."""
    checks = check_references(
        job.entry.references,
        scores.metrics,
        dataset=job.dataset.name,
        deviations=job.deviations,
    )
    main = [f"{task}/AP" for task in job.architecture.tasks]
    return checks + unreferenced(main, scores.metrics, checks)


def _announce(job: Job, run: Run) -> None:
    for sentence in job.dataset.warnings:
        announce(run, f"data: {sentence}")
    for sentence in job.deviations:
        announce(run, f"not comparable: {sentence}")


def _score(request: EvalRequest, job: Job, predictions: list[dict[str, Any]], run: Run) -> Scores:
    try:
        return score(
            read_annotations(job.dataset.annotations_path),
            predictions,
            tasks=job.architecture.tasks,
            image_ids=job.dataset.image_ids,
            evaluator=request.evaluator,
        )
    except HarnessError:
        raise
    except Exception as error:
        raise RunFailedError(
            f"scoring failed: {type(error).__name__}: {error}",
            hint="no prediction is lost; score them again with: harness score "
            + shlex.quote(str(run.folder)),
        ) from error
