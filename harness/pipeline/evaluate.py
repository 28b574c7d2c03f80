"""``harness eval``: from a request to a verdict, one statement a stage."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.checks import Check
from harness.core.engine import EngineInfo
from harness.core.errors import HarnessError, RunFailedError
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.requests import EvalRequest, Evaluator
from harness.data.coco import read_annotations
from harness.files.environment import read_environment
from harness.files.json import to_plain
from harness.measure.coco import Scores, check_coverage, score
from harness.measure.timing import PhaseTimer
from harness.measure.verdict import check_references, conclude, unreferenced
from harness.pipeline.inference import infer_to_shard
from harness.pipeline.resolve import Job, open_job_engine, resolve
from harness.pipeline.run_folder import PREDICTIONS, new_run_id, open_run, write_record
from harness.pipeline.shards import read_lines, write_predictions

SHARD = "shards/0000.jsonl"


def evaluate(
    request: EvalRequest,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
) -> tuple[RunRecord, Path]:
    """The record of one accuracy run, and the folder it lies in.

    now: when the run began. stopwatch: books wall time by stage for the record.
    """
    with stopwatch.phase("resolve"):
        job = resolve(request.inference)
        run_id = new_run_id("eval", job.entry.name, request.inference.engine, now)
        folder = open_run(request, run_id, output=request.output, resume=request.resume)
        _announce(job, folder, progress)
    with stopwatch.phase("open engine"):
        engine = open_job_engine(job)
    with stopwatch.phase("infer"):
        finished = infer_to_shard(job, engine, folder / SHARD, progress)
        check_coverage(job.dataset.image_ids, finished)
        engine.close()
    with stopwatch.phase("merge"):
        predictions = write_predictions(folder / PREDICTIONS, read_lines([folder / SHARD]))
    with stopwatch.phase("score"):
        scores = _score(job, predictions, request.evaluator, folder)
    record = _record(request, job, engine.info, scores, run_id, command, now, stopwatch)
    write_record(folder, record)
    return record, folder


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


def _announce(job: Job, folder: Path, progress: Progress) -> None:
    progress.notice(f"run folder: {folder}")
    for sentence in job.dataset.warnings:
        progress.notice(f"data: {sentence}")
    for sentence in job.deviations:
        progress.notice(f"not comparable: {sentence}")


def _score(
    job: Job, predictions: list[dict[str, Any]], evaluator: Evaluator, folder: Path
) -> Scores:
    try:
        return score(
            read_annotations(job.dataset.annotations_path),
            predictions,
            tasks=job.architecture.tasks,
            image_ids=job.dataset.image_ids,
            evaluator=evaluator,
        )
    except HarnessError:
        raise
    except Exception as error:
        raise RunFailedError(
            f"scoring failed: {type(error).__name__}: {error}",
            hint=f"no inference is lost; score again with: harness score --predictions "
            f"{folder / PREDICTIONS} --annotations {job.dataset.annotations_path}",
        ) from error


def _record(
    request: EvalRequest,
    job: Job,
    engine: EngineInfo,
    scores: Scores,
    run_id: str,
    command: tuple[str, ...],
    now: datetime,
    stopwatch: PhaseTimer,
) -> RunRecord:
    checks = accuracy_checks(job, scores)
    return RunRecord(
        kind="eval",
        run_id=run_id,
        created_utc=now.isoformat(timespec="seconds"),
        harness_version=__version__,
        command=command,
        request=to_plain(request),
        resolved=job.resolved,
        engine=engine,
        checkpoint=job.checkpoint,
        dataset=job.dataset_facts,
        environment=read_environment(),
        metrics=scores.metrics,
        per_category=scores.per_category,
        stage_times_s=dict(stopwatch.seconds),
        protocol_deviations=job.deviations,
        checks=checks,
        verdict=conclude(checks, require_reference=request.require_reference),
        artefacts={"predictions": PREDICTIONS, "per_category": "per_category.csv", "shard": SHARD},
    )
