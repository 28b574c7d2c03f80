"""The record of an evaluation or a benchmark, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import __version__
from harness.core.checks import Check
from harness.core.engine import EngineInfo
from harness.core.record import CategoryScore, MetricInterval, RunRecord
from harness.core.requests.inference import BenchRequest, EvalRequest
from harness.core.settings import recorded
from harness.files.environment import read_environment
from harness.files.json import to_plain
from harness.measure.verdict import conclude
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.folder import Run


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
        resolved={**job.resolved, **resolved},
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
