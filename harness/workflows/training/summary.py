"""What a training came to: its best weights, AP before and after, losses, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.command_line import command_line
from harness.core.drawing import DrawingStyle
from harness.core.record import CategoryScore, RunRecord
from harness.core.requests.inference import (
    DataSpec,
    EvalRequest,
    InferenceRequest,
    ModelSpec,
    RecipeOverrides,
)
from harness.core.requests.pictures import PredictRequest, ShowRequest
from harness.core.requests.serving import ServeRequest
from harness.core.tasks import MAIN_METRICS
from harness.files.layout import default_places
from harness.training.best import goodness
from harness.training.run import WEIGHTS_BEST, WEIGHTS_LAST
from harness.workflows.runs.records import read_record
from harness.workflows.training.job import TrainingJob
from harness.workflows.training.scoring import evaluation_folder

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

    train_loss: tuple[float, float] | None
    """Total loss of training images: of the first lines of the log, and of the last."""

    validation_loss: tuple[float, float] | None
    """Total loss of validation images: of the best weights, and of the last."""

    test_loss: tuple[float, float] | None
    """Total loss of test images: of the best weights, and of the last."""

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
        folder: Of the run.
        lines: Of its ``metrics.json``.
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
        train_loss=_train_loss(lines),
        validation_loss=_losses(lines, "validation/total_loss", best_iteration),
        test_loss=_losses(lines, "test/total_loss", best_iteration),
        weights=str(folder / WEIGHTS_BEST),
        last_weights=str(folder / WEIGHTS_LAST),
        next_commands=tuple(_next(job, folder, best_iteration)),
    )


def best_of(job: TrainingJob, lines: Sequence[Mapping[str, Any]]) -> int:
    """Return the iteration of the best evaluation; of equal ones the last, as the training does."""
    found = [
        (goodness(job.config.best_by, line, line), line["iteration"])
        for line in lines
        if any(name.endswith("/AP") for name in line)
        and (job.config.best_by == "ap" or "validation/total_loss" in line)
    ]
    return max(found)[1] if found else job.plan.schedule.iterations


def _aps(record: RunRecord) -> dict[str, float | None]:
    return {
        name: value
        for name, value in record.metrics.items()
        if name.startswith(tuple(MAIN_METRICS))
    }


def _train_loss(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    losses = [float(line["total_loss"]) for line in lines if line.get("total_loss") is not None]
    if not losses:
        return None
    return _median(losses[:LOSS_LINES]), _median(losses[-LOSS_LINES:])


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _losses(
    lines: Sequence[Mapping[str, Any]], name: str, best_iteration: int
) -> tuple[float, float] | None:
    found = {line["iteration"]: float(line[name]) for line in lines if line.get(name) is not None}
    if not found:
        return None
    last = found[max(found)]
    return found.get(best_iteration, last), last


def _next(job: TrainingJob, folder: Path, best_iteration: int) -> Iterator[str]:
    """Yield the commands that evaluate, show, draw and serve, ready to paste."""
    validation = job.validation
    network = ModelSpec(model=job.entry.name, weights=folder / WEIGHTS_BEST)
    if job.request.network.root != default_places()["datasets"]:
        network = replace(network, root=job.request.network.root)
    recipe = RecipeOverrides()
    if job.request.augmentation.short_edge_px is not None:
        recipe = RecipeOverrides(
            short_edge_px=job.architecture.short_edge_px,
            long_edge_max_px=job.architecture.long_edge_max_px,
        )
    own = InferenceRequest(
        network=network,
        data=DataSpec(annotations=validation.annotations_path, images=validation.images_dir),
        recipe=recipe,
    )
    yield _typed("eval", EvalRequest(inference=own))
    yield _typed("show", ShowRequest(run=evaluation_folder(folder, best_iteration)))
    named = replace(own, data=DataSpec(annotations=validation.annotations_path))
    images = str(validation.images_dir)
    yield _typed("predict", PredictRequest(paths=(images,), inference=named, style=DrawingStyle()))
    serving = ServeRequest(
        network=network,
        annotations=validation.annotations_path,
        images=validation.images_dir,
    )
    yield _typed("serve", serving)


def _typed(name: str, request: Any) -> str:
    return shlex.join(command_line(name, request))
