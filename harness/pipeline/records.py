"""A run's record: put together, written as ``record.json`` and ``per_category.csv``, read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.core.checks import Check
from harness.core.engine import EngineInfo
from harness.core.record import CategoryScore, RunRecord
from harness.core.requests.inference import BenchRequest, EvalRequest
from harness.files.atomic import write_text
from harness.files.environment import read_environment
from harness.files.json import dumps, read, to_plain, to_typed
from harness.measure.verdict import conclude
from harness.pipeline.datasets import facts_of_dataset
from harness.pipeline.run_files import PER_CATEGORY, RECORD
from harness.pipeline.run_folder import Run

if TYPE_CHECKING:
    from harness.pipeline.resolve import Job
    from harness.pipeline.training_job import TrainingJob


def record_of(
    run: Run,
    request: EvalRequest | BenchRequest,
    job: Job,
    engine: EngineInfo,
    *,
    metrics: Mapping[str, float | None],
    per_category: Sequence[CategoryScore] = (),
    stage_times_s: Mapping[str, float],
    deviations: tuple[str, ...],
    checks: tuple[Check, ...],
    artefacts: Mapping[str, str],
    **resolved: Any,
) -> RunRecord:
    """What the run leaves behind. resolved: beside what the job resolved."""
    return RunRecord(
        kind="eval" if isinstance(request, EvalRequest) else "bench",
        run_id=run.run_id,
        created_utc=run.begun.isoformat(timespec="seconds"),
        harness_version=__version__,
        command=run.command,
        request=to_plain(request),
        resolved={**job.resolved, **resolved},
        engine=engine,
        checkpoint=job.checkpoint,
        dataset=job.dataset_facts,
        environment=read_environment(),
        metrics=dict(metrics),
        per_category=tuple(per_category),
        stage_times_s=dict(stage_times_s),
        protocol_deviations=deviations,
        checks=checks,
        verdict=conclude(checks, require_reference=request.require_reference),
        artefacts=dict(artefacts),
    )


def training_record(
    run: Run,
    job: TrainingJob,
    evaluation: RunRecord,
    *,
    stage_times_s: Mapping[str, float],
    checks: tuple[Check, ...],
    artefacts: Mapping[str, str],
) -> RunRecord:
    """What a training leaves behind: the numbers of its last evaluation, judged as a retraining."""
    return replace(
        evaluation,
        kind="train",
        run_id=run.run_id,
        created_utc=run.begun.isoformat(timespec="seconds"),
        command=run.command,
        request=to_plain(job.request),
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


def write_record(folder: Path, record: RunRecord) -> None:
    """Both files, each whole or not there; the record last: it says that the run is finished."""
    if record.per_category:
        write_text(folder / PER_CATEGORY, category_table(record.per_category))
    write_text(folder / RECORD, dumps(to_plain(record), indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """The validated record of a finished run."""
    path = folder / RECORD
    return to_typed(RunRecord, read(path), where=str(path))


def category_table(rows: tuple[CategoryScore, ...]) -> str:
    """Comma-separated: task, category id, name, AP (0-100, empty when undefined), reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "category_id", "name", "ap", "reason"))
    for row in rows:
        ap = "" if row.ap is None else f"{row.ap:.6f}"
        writer.writerow((row.task, row.category_id, row.name, ap, row.reason))
    return text.getvalue()
