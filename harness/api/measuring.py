"""Measure and compare models: evaluation, speed, sweep, scoring, and why a number is what it is."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import Shown, public, shown_by, stopwatch
from harness.api.settings import composed, public_with_settings, typed
from harness.core.clock import utc_now
from harness.core.errors import UsageError
from harness.core.requests.inference import (
    BenchRequest,
    DiagnoseRequest,
    EvalRequest,
    ScoreRequest,
    ShareRequest,
    SweepRequest,
)
from harness.core.requests.pictures import CompareRequest
from harness.core.requests.reports import AnalyzeRequest, ReportRequest, TrackerName
from harness.core.results import RunResult
from harness.core.settings import replaced

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.record import RunRecord
    from harness.core.requests import keywords
    from harness.workflows.benchmark.sweep import SweepResult
    from harness.workflows.comparison.runs import Comparison
    from harness.workflows.comparison.several import SeveralRuns
    from harness.workflows.diagnose import Diagnosis
    from harness.workflows.evaluation.analyze import Analysis
    from harness.workflows.evaluation.report import ReportResult
    from harness.workflows.evaluation.share import ShareResult


@public_with_settings
def evaluate(
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    begun: datetime | None = None,
    **settings: Unpack[keywords.EvaluateSettings],
) -> RunResult:
    """Measure AP of a model and check it against its references, as ``harness eval``.

    Args:
        progress: True shows progress in the terminal; an object of the protocol
            `harness.core.progress.Progress` is called instead.
        command: What the record says was typed; None for the command line that does the same.
        begun: When the record says the run began, such as when it was asked for; None for now.
        **settings: Those of `EvalRequest`.

    Returns:
        The record and the run folder. A verdict that failed is no error: see `RunResult.passed`.

    Raises:
        HarnessError: The run could not be made; `UsageError` for what was asked wrongly.
    """
    from harness.workflows.evaluation.evaluate import evaluate

    request = composed("evaluate", EvalRequest, settings)
    record, folder = evaluate(
        request,
        progress=shown_by(progress),
        command=typed(command, "eval", request),
        now=begun or utc_now(),
        stopwatch=stopwatch(),
    )
    return RunResult(record=record, folder=folder)


@public_with_settings
def evaluate_share(
    share: str,
    *,
    image_ids: Collection[int] | None = None,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    begun: datetime | None = None,
    **settings: Unpack[keywords.EvaluateShareSettings],
) -> ShareResult:
    """Infer one part of an evaluation beside the others, as ``harness eval --share``.

    All parts have one ``output``, on a file system that they share; they may run at once, in any
    order and again. `evaluate` with ``resume=True`` and the same ``output`` scores them.

    Args:
        share: Which part of how many, such as ``3/8``.
        image_ids: The images of the part; None for every N-th batch.
        progress: As in `evaluate`.
        command: As in `evaluate`.
        begun: As in `evaluate`.
        **settings: Those of `EvalRequest`, the same for every part, without ``workers`` and
            ``resume``; ``output`` is needed.

    Returns:
        How many images were inferred, and how many all parts together lack.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.evaluation.share import evaluate_share

    request = composed("evaluate_share", ShareRequest, settings)
    asked = replaced(request, share=share)
    return evaluate_share(
        request.evaluation,
        share,
        image_ids=image_ids,
        progress=shown_by(progress),
        command=typed(command, "eval", asked),
        now=begun or utc_now(),
    )


@public_with_settings
def benchmark(
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    begun: datetime | None = None,
    **settings: Unpack[keywords.BenchmarkSettings],
) -> RunResult:
    """Measure seconds per image and check them against references, as ``harness bench``.

    Args:
        progress: As in `evaluate`.
        command: As in `evaluate`.
        begun: As in `evaluate`.
        **settings: Those of `BenchRequest`.

    Returns:
        The record and the run folder; with ``profiling=True`` the profile is there, too.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.benchmark.bench import bench

    request = composed("benchmark", BenchRequest, settings)
    record, folder = bench(
        request,
        progress=shown_by(progress),
        command=typed(command, "bench", request),
        now=begun or utc_now(),
    )
    return RunResult(record=record, folder=folder)


@public_with_settings
def sweep(
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.SweepSettings],
) -> SweepResult:
    """Measure speed, memory and AP of many settings of one model, as ``harness sweep``.

    Args:
        progress: As in `evaluate`.
        command: As in `evaluate`.
        **settings: Those of `SweepRequest`.

    Returns:
        Every cell with its numbers, the recommendations, and the run folder.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.benchmark.sweep import SweepResult, sweep

    request = composed("sweep", SweepRequest, settings)
    found, folder = sweep(
        request,
        progress=shown_by(progress),
        command=typed(command, "sweep", request),
        now=utc_now(),
    )
    return SweepResult(sweep=found, folder=folder)


@public_with_settings
def score(
    run: str | Path | None = None,
    *,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.ScoreSettings],
) -> RunRecord:
    """Score saved predictions again, on the CPU and without torch, as ``harness score``.

    Args:
        run: Run folder of an evaluation; or give ``predictions`` and ``annotations``.
        command: As in `evaluate`.
        **settings: Those of `ScoreRequest`.

    Returns:
        The record; it is written only where ``output`` says.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.evaluation.score import score_saved

    request = composed("score", ScoreRequest, {"run": run, **settings})
    return score_saved(
        request,
        command=typed(command, "score", request),
        now=utc_now(),
        stopwatch=stopwatch(),
    )


@public_with_settings
def analyze(
    run: str | Path | None = None,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.AnalyzeSettings],
) -> Analysis:
    """Find out what an AP is made of, as ``harness analyze``.

    Args:
        run: Run folder of an evaluation; or give ``predictions`` and ``annotations``.
        progress: As in `evaluate`.
        **settings: Those of `AnalyzeRequest`.

    Returns:
        For each task: what each type of error costs in AP, precision and F1 curves, the best
        threshold of each category, calibration and confusions.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.evaluation.analyze import analyze

    request = composed("analyze", AnalyzeRequest, {"run": run, **settings})
    return analyze(request, progress=shown_by(progress))


@public_with_settings
def write_report(
    run: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.WriteReportSettings],
) -> ReportResult:
    """Write the page of a finished run again, as ``harness report``.

    Args:
        run: Run folder.
        progress: As in `evaluate`.
        **settings: Those of `ReportRequest`.

    Returns:
        Where the page is, and what it could not show.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.evaluation.report import report

    request = composed("write_report", ReportRequest, {"run": run, **settings})
    return report(request, progress=shown_by(progress))


@public
def track_run(folder: str | Path, tracker: TrackerName) -> str:
    """Give a finished run or night to a tracker, as ``--track`` of the commands.

    Args:
        folder: Run folder, or the folder of a night.
        tracker: ``mlflow``, ``wandb`` or ``tensorboard``.

    Returns:
        Where it is logged.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.tracking import TRACKERS, track_run

    if tracker not in TRACKERS:
        raise UsageError(f"unknown tracker {tracker!r}; there are: {', '.join(TRACKERS)}")
    return track_run(Path(folder), tracker)


@public_with_settings
def diagnose(
    run: str | Path | None = None,
    *,
    progress: Shown = False,
    begun: datetime | None = None,
    **settings: Unpack[keywords.DiagnoseSettings],
) -> Diagnosis:
    """Find out why an AP is what it is, as ``harness diagnose``.

    Args:
        run: Run folder of an evaluation; or give ``predictions`` and ``annotations``.
        progress: As in `evaluate`.
        begun: From when the time limit counts; None for now.
        **settings: Those of `DiagnoseRequest`.

    Returns:
        The faults that were found, strongest first, with AP before and after each is undone, and
        what differs from the reference.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.diagnose import diagnose_predictions

    request = composed("diagnose", DiagnoseRequest, {"run": run, **settings})
    # A time without a zone is local, as Python has it.
    before_s = 0.0 if begun is None else (utc_now() - begun.astimezone()).total_seconds()
    return diagnose_predictions(
        request,
        progress=shown_by(progress),
        clock=time.monotonic,
        begun=time.monotonic() - max(0.0, before_s),
    )


@public_with_settings
def compare(
    first: str | Path,
    second: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.CompareSettings],
) -> Comparison:
    """Compare two evaluations of the same images, as ``harness compare``.

    Args:
        first: Run folder of an evaluation or a training, which is its best evaluation then; or a
            file of predictions, with ``annotations``.
        second: Another one.
        progress: As in `evaluate`.
        **settings: Those of `CompareRequest`.

    Returns:
        What differs in settings, metrics (with what resampling says of noise), categories and
        images; the second against the first.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.comparison.compare import compare

    request = composed("compare", CompareRequest, {"first": first, "second": second, **settings})
    return compare(request, shown_by(progress))


@public
def compare_several(
    *runs: str | Path, plot: str | Path | None = None, progress: Shown = False
) -> SeveralRuns:
    """Put several evaluations of the same images into one table, as ``harness compare A B C``.

    Args:
        *runs: Folders of evaluations, or of trainings, of which the best evaluation counts.
        plot: PNG of AP over time and size of the networks; None for none.
        progress: As in `evaluate`.

    Returns:
        AP, size, parameters, arithmetic and time of each.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.comparison.several import compare_several

    if len(runs) < 2:
        raise UsageError("give two or more runs to compare")
    return compare_several(
        [Path(run) for run in runs],
        plot=None if plot is None else Path(plot),
        progress=shown_by(progress),
    )
