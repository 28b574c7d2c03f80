"""``harness selftest``: claims of the harness about itself, tried on the embedded data set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.clock import utc_now
from harness.core.engine import EngineName
from harness.core.progress import Progress, Silent
from harness.core.requests.inference import (
    EngineOptions,
    EvalRequest,
    InferenceRequest,
    ModelSpec,
    RecipeOverrides,
)
from harness.core.run_files import PREDICTIONS
from harness.core.tasks import is_accuracy
from harness.files.digest import file_digest
from harness.files.json import read
from harness.files.scratch import scratch_folder
from harness.measure.timing import PhaseTimer
from harness.workflows.evaluation.evaluate import evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTrial:
    """The result of an evaluation with one number of workers."""

    workers: int
    """Number of workers."""

    predictions: int
    """Number of predictions."""

    predictions_sha256: str
    """Hash of the merged file of predictions."""

    accuracy: dict[str, float | None]
    """The 24 metrics by name, 0-100; None for one that cannot be computed."""

    all_devices_fps: float
    """Images per second of all workers together."""

    one_device_fps: float
    """Images per second of one worker, on average."""


def try_shards(
    counts: Sequence[int], *, engine: EngineName, device: str, root: Path, progress: Progress
) -> list[ShardTrial]:
    """Evaluate the embedded data set once for each number of workers.

    The score threshold is 0, so that generated weights give as many detections as they can.

    Args:
        counts: Numbers of workers to try.
        engine: Engine of all evaluations.
        device: Their device, such as ``cpu`` or ``cuda``.
        root: Folder of data sets and checkpoints.
        progress: Receives progress.

    Returns:
        One trial a number, in the order of ``counts``.
    """
    request = InferenceRequest(
        network=ModelSpec(root=root),
        options=EngineOptions(engine=engine, device=device),
        recipe=RecipeOverrides(score_threshold=0.0),
    )
    trials = []
    with (
        scratch_folder("selftest") as folder,
        progress.task("try", total=len(counts), unit="runs") as advance,
    ):
        for count in counts:
            trials.append(_trial(request, count, folder / str(count)))
            advance(1)
    return trials


def differing(trials: Sequence[ShardTrial]) -> list[str]:
    """Return how the trials differ from the first, one sentence each; empty for identical ones."""
    first = trials[0]
    found = []
    for trial in trials[1:]:
        if trial.predictions_sha256 != first.predictions_sha256:
            found.append(f"{trial.workers} workers gave other predictions than {first.workers}")
        if trial.accuracy != first.accuracy:
            found.append(f"{trial.workers} workers gave other metrics than {first.workers}")
    if not first.predictions:
        found.append("nothing was detected: there was nothing to compare")
    return found


def _trial(request: InferenceRequest, workers: int, folder: Path) -> ShardTrial:
    record, _ = evaluate(
        EvalRequest(inference=request, workers=workers, output=folder),
        progress=Silent(),
        command=("harness", "selftest", "shards"),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    metrics = record.metrics
    return ShardTrial(
        workers=workers,
        predictions=len(read(folder / PREDICTIONS)),
        predictions_sha256=file_digest(folder / PREDICTIONS),
        accuracy={name: metrics[name] for name in metrics if is_accuracy(name)},
        all_devices_fps=metrics["throughput/all_devices_fps"] or 0.0,
        one_device_fps=metrics["throughput/one_device_fps"] or 0.0,
    )
