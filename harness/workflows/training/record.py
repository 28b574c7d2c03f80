"""The record of a training: its last evaluation judged as a retraining, and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.core.checks import Check, Reference, Tolerance, Verdict
from harness.core.record import RunRecord
from harness.core.settings import recorded
from harness.core.tasks import main_metric
from harness.data.proven import facts_of_dataset
from harness.files.json import to_plain
from harness.measure.verdict import check_references, conclude, unreferenced
from harness.training.log import METRICS
from harness.training.run import WEIGHTS_BEST, WEIGHTS_LAST
from harness.workflows.runs.files import LOG, RUN_PAGE
from harness.workflows.runs.folder import Run
from harness.workflows.training.job import TrainingJob
from harness.workflows.training.pictures import FOLDER, PROGRESS
from harness.workflows.training.scoring import evaluation_folder
from harness.workflows.training.summary import TrainingSummary

CURVES = "curves.png"

#: Files of a training by their name in the record; those that were not written are left out.
ARTEFACTS = {
    "log": LOG,
    "metrics": METRICS,
    "curves": CURVES,
    "pictures": f"{FOLDER}/{PROGRESS}",
    "weights": WEIGHTS_LAST,
    "best": WEIGHTS_BEST,
}

#: Two trainings of one recipe differ more than two evaluations of one checkpoint.
RETRAINING = Tolerance(
    below=0.5, above=0.5, source="chosen: seeds and data order move a retrained AP by some tenths"
)


def training_record(
    run: Run,
    job: TrainingJob,
    last: RunRecord,
    summary: TrainingSummary,
    *,
    stage_times_s: Mapping[str, float],
) -> RunRecord:
    """Return the record of a finished training.

    Args:
        run: The open run folder.
        job: The training.
        last: The record of the last evaluation, whose numbers are those of the training.
        summary: What it came to.
        stage_times_s: Wall time by stage.
    """
    checks = _checks(job, last.dataset.name, last.metrics)
    page = evaluation_folder(run.folder, summary.best_iteration) / RUN_PAGE
    artefacts = {**ARTEFACTS, "report": str(page.relative_to(run.folder))}
    return replace(
        last,
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
            "evaluation": last.resolved,
            "summary": to_plain(summary),
        },
        stage_times_s=dict(stage_times_s),
        protocol_deviations=job.deviations,
        checks=checks,
        verdict=_verdict(job, checks, summary),
        artefacts={name: path for name, path in artefacts.items() if (run.folder / path).exists()},
    )


def _verdict(job: TrainingJob, checks: tuple[Check, ...], summary: TrainingSummary) -> Verdict:
    """Return what all checks say; of data of one's own there is only what was reached."""
    found = conclude(checks)
    if job.is_retraining or found.outcome != "nothing-to-compare":
        return found
    return Verdict(outcome="nothing-to-compare", line=summary.line)


def _checks(
    job: TrainingJob, dataset: str, metrics: Mapping[str, float | None]
) -> tuple[Check, ...]:
    references = [_for_retraining(one) for one in job.entry.references]
    checks = check_references(references, metrics, dataset=dataset, deviations=job.deviations)
    main = [main_metric(task) for task in job.architecture.tasks]
    return checks + unreferenced(main, metrics, checks)


def _for_retraining(reference: Reference) -> Reference:
    return reference if reference.tolerance is None else replace(reference, tolerance=RETRAINING)
