"""What a training came to: its record, its summary, and its plan in sentences.

The record judges the last evaluation as a retraining. The summary has the best weights, AP before
and after, losses, and what to type next.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness.core.checks import Check, Reference, Tolerance, Verdict
from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.core.record import CategoryScore, RunRecord
from harness.core.requests.inference import DataSpec, EvalRequest, InferenceRequest, ModelSpec
from harness.core.requests.loading import ServeRequest
from harness.core.requests.pictures import PredictRequest, ShowRequest
from harness.core.run_files import LOG, RUN_PAGE
from harness.core.settings import command_line, recorded
from harness.core.tasks import MAIN_METRICS, listed_metrics
from harness.data.run_dataset import facts_of_dataset
from harness.files.json import to_plain
from harness.files.layout import default_places
from harness.measure.verdict import check_references, conclude, unreferenced
from harness.training.log import CHOSEN_BY, METRICS, selection_metric
from harness.training.notes import read_notes
from harness.training.plan import Plan, Schedule
from harness.training.weight_files import WEIGHTS_BEST, WEIGHTS_LAST
from harness.workflows.runs.folder import Run, read_record
from harness.workflows.training.job import TrainingJob
from harness.workflows.training.sample import FOLDER, SHEET
from harness.workflows.training.scoring import data_of, evaluation_folder

CURVES = "curves.png"

#: Files of a training by their name in the record; those that were not written are left out.
ARTEFACTS = {
    "log": LOG,
    "metrics": METRICS,
    "curves": CURVES,
    "pictures": f"{FOLDER}/{SHEET}",
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
        notes=tuple(dict.fromkeys((*read_notes(run.folder), *last.notes))),
        sha256={},  # of files of the evaluation, whose own record has them
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
    main = listed_metrics(job.architecture.tasks)
    return checks + unreferenced(main, metrics, checks)


def _for_retraining(reference: Reference) -> Reference:
    return reference if reference.tolerance is None else replace(reference, tolerance=RETRAINING)


#: Lines of the log whose median is a loss of the beginning, or of the end.
LOSS_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """A finished training in numbers. AP is 0 to 100; None where it could not be computed."""

    retraining: bool
    """Whether the model's own data were learned; otherwise nothing is published to compare with."""

    best_iteration: int
    """Iteration of the best weights."""

    last_iteration: int
    """Iterations of the whole training."""

    before: dict[str, float | None] | None
    """AP by metric of the weights at the beginning; None where they were not evaluated."""

    best: dict[str, float | None]
    """AP by metric of the best weights on the validation data."""

    last: dict[str, float | None]
    """AP by metric of the last weights."""

    test: dict[str, float | None] | None
    """AP by metric of the best weights on the test data; None without ``--test-annotations``."""

    per_category: tuple[CategoryScore, ...]
    """AP of each category with the best weights."""

    train_loss: tuple[float | None, float] | None
    """Total loss of training images: of the first lines of the log, and of the last. The first is
    None where the log has one line: it is of all iterations."""

    validation_loss: tuple[float | None, float, float] | None
    """Total loss of validation images: of the weights before the first iteration (None where they
    were not evaluated), of the best, and of the last."""

    test_loss: tuple[float | None, float, float] | None
    """The same of test images."""

    weights: str
    """File of the best weights."""

    last_weights: str
    """File of the last weights."""

    next_commands: tuple[str, ...]
    """Commands that evaluate, show, draw and serve with the best weights."""

    @property
    def line(self) -> str:
        """Best AP in a sentence."""
        parts = [
            f"{MAIN_METRICS[name]} {value:.2f}"
            for name, value in self.best.items()
            if name in MAIN_METRICS and value is not None
        ]
        return (
            f"TRAINED: {', '.join(parts) or 'no AP could be computed'} on the validation data, "
            f"with the weights of iteration {self.best_iteration:,}"
        )


def summarise(
    job: TrainingJob,
    folder: Path,
    lines: Sequence[Mapping[str, Any]],
    last: RunRecord,
    test: RunRecord | None,
) -> TrainingSummary:
    """Return the summary of a finished training.

    Args:
        job: The training.
        folder: Folder of the run.
        lines: Lines of its ``metrics.json``.
        last: The record of the last evaluation.
        test: The record of the best weights on the test data.
    """
    iterations = job.plan.schedule.iterations
    best_iteration = best_of(job, lines)
    at_best = last
    if best_iteration != iterations:
        at_best = read_record(evaluation_folder(folder, best_iteration))
    before = evaluation_folder(folder, 0)
    return TrainingSummary(
        retraining=job.is_retraining,
        best_iteration=best_iteration,
        last_iteration=iterations,
        before=_aps(read_record(before)) if before.is_dir() else None,
        best=_aps(at_best),
        last=_aps(last),
        test=None if test is None else _aps(test),
        per_category=at_best.per_category,
        train_loss=train_loss(lines),
        validation_loss=_losses(lines, "validation/total_loss", best_iteration),
        test_loss=_losses(lines, "test/total_loss", best_iteration),
        weights=str(folder / WEIGHTS_BEST),
        last_weights=str(folder / WEIGHTS_LAST),
        next_commands=tuple(_next(job, folder, best_iteration)),
    )


def best_of(job: TrainingJob, lines: Sequence[Mapping[str, Any]]) -> int:
    """Return the iteration of the best evaluation; of equal ones the last, as the training does."""
    found = [
        (selection_metric(job.config.best_by, line, line), line["iteration"])
        for line in lines
        if any(name.endswith(CHOSEN_BY) for name in line)
        and (job.config.best_by == "ap" or "validation/total_loss" in line)
    ]
    return max(found)[1] if found else job.plan.schedule.iterations


def _aps(record: RunRecord) -> dict[str, float | None]:
    return {
        name: value
        for name, value in record.metrics.items()
        if name.startswith(tuple(MAIN_METRICS))
    }


def train_loss(lines: Sequence[Mapping[str, Any]]) -> tuple[float | None, float] | None:
    """Return the total loss of training images at first and at last; None of an empty log.

    Args:
        lines: Lines of ``metrics.json``.
    """
    losses = [float(line["total_loss"]) for line in lines if line.get("total_loss") is not None]
    if len(losses) < 2:
        return (None, losses[0]) if losses else None
    # Of a short log the first lines must not be the last ones, too.
    lines_each = min(LOSS_LINES, len(losses) // 2)
    return median(losses[:lines_each]), median(losses[-lines_each:])


def _losses(
    lines: Sequence[Mapping[str, Any]], name: str, best_iteration: int
) -> tuple[float | None, float, float] | None:
    found = {line["iteration"]: float(line[name]) for line in lines if line.get(name) is not None}
    if not found:
        return None
    last = found[max(found)]
    return found.get(0), found.get(best_iteration, last), last


def _next(job: TrainingJob, folder: Path, best_iteration: int) -> Iterator[str]:
    """Yield the commands that evaluate, show, draw and serve, ready to paste."""
    validation = job.validation
    network = ModelSpec(model=job.entry.name, weights=folder / WEIGHTS_BEST)
    if job.request.network.root != default_places()["datasets"]:
        network = replace(network, root=job.request.network.root)
    own = InferenceRequest(
        network=network,
        data=data_of(validation, job.proposals_of(validation)),
    )
    yield _typed("eval", EvalRequest(inference=own))
    yield _typed("show", ShowRequest(run=evaluation_folder(folder, best_iteration)))
    if job.architecture.given_proposals:  # which are of the images of a data set
        return
    listed = None if validation.panoptic is None else validation.panoptic.annotations_path
    named = replace(own, data=DataSpec(annotations=validation.annotations_path, panoptic=listed))
    images = str(validation.images_dir)
    yield _typed("predict", PredictRequest(paths=(images,), inference=named, style=DrawingStyle()))
    serving = ServeRequest(
        network=network,
        annotations=validation.annotations_path,
        panoptic=listed,
        images=validation.images_dir,
    )
    yield _typed("serve", serving)


def _typed(name: str, request: Any) -> str:
    return shlex.join(command_line(name, request))


def plan_lines(job: TrainingJob) -> list[str]:
    """Return the plan and its data in sentences, as they are shown before a training."""
    return [
        schedule_line(job.entry.name, job.plan, retraining=job.is_retraining),
        data_line(job),
        *(f"warning: {sentence}" for sentence in (*job.plan.warnings, *_odd_judges(job))),
    ]


def _odd_judges(job: TrainingJob) -> Iterator[str]:
    """Yield a sentence where the images that judge a training cannot judge it."""
    folder = job.training.dataset.images_dir
    learned = _files(folder, (one.record for one in job.training.images))
    for kind, dataset in (("validation", job.validation), ("test", job.test)):
        if dataset is None:
            continue
        again = len(learned & _files(dataset.images_dir, dataset.images))
        if again:
            yield (
                f"{again:,} of the {len(dataset.images):,} {kind} images are learned from as well: "
                "their AP says little about other images"
            )
        if dataset.annotation_count == dataset.crowd_count:
            yield f"the {kind} images have no object that counts: there will be no AP of them"


def _files(folder: Path, records: Iterable[ImageRecord]) -> set[str]:
    """Return the files of images, one spelling each."""
    real = os.path.realpath(folder)
    return {os.path.normpath(os.path.join(real, one.file_name)) for one in records}  # noqa: PTH118


def schedule_line(model: str, plan: Plan, *, retraining: bool) -> str:
    """Return the schedule in a sentence; beside the published one where that is retrained."""
    schedule, published = plan.schedule, plan.published
    sentence = (
        f"{model}: {schedule.iterations:,} iterations of {schedule.batch_size} images, "
        f"lr {schedule.learning_rate:g}{_steps(schedule)}, warm-up {schedule.warmup:,}"
    )
    if not retraining:
        return sentence
    return (
        f"{sentence} (published: {published.iterations:,} of {published.batch_size}, "
        f"lr {published.learning_rate:g})"
    )


def data_line(job: TrainingJob) -> str:
    """Return images, objects, epochs, evaluations and checkpoints in a sentence."""
    images = len(job.training.images)
    objects = sum(job.training.object_counts.values())
    return (
        f"{images:,} images with {objects:,} objects of {len(job.training.object_counts)} "
        f"categories, {job.plan.schedule.images_seen / images:.1f} epochs; "
        + ", ".join(
            rhythm(
                job.config.eval_every or 0,
                job.config.checkpoint_every,
                iterations=job.plan.schedule.iterations,
            )
        )
    )


def rhythm(eval_every: int, checkpoint_every: int | None, *, iterations: int) -> Iterator[str]:
    """Yield when a training of so many iterations evaluates and when it saves a checkpoint."""
    often = 0 < eval_every < iterations
    yield f"an evaluation every {eval_every:,} iterations" if often else "an evaluation in the end"
    yield (
        "a checkpoint every 10 minutes"
        if checkpoint_every is None
        else f"a checkpoint every {checkpoint_every:,} iterations"
    )


def _steps(schedule: Schedule) -> str:
    steps = ", ".join(f"{step:,}" for step in schedule.steps)
    return f", ×0.1 at {steps}" if steps else ""
