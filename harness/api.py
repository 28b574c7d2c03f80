"""The Python API: what the command line does, as functions; `harness` exports them.

Settings are keywords with the names, checks and defaults of the command line; each is defined once,
as a field of a request (`harness.core.requests`). What is positional on the command line may be
positional here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.core.command_line import command_line
from harness.core.errors import UsageError
from harness.core.progress import Progress, Silent
from harness.core.requests.data import ConvertRequest
from harness.core.requests.inference import (
    BenchRequest,
    EvalRequest,
    ScoreRequest,
    SweepRequest,
)
from harness.core.requests.loading import DatasetRequest, DrawRequest, LoadRequest
from harness.core.requests.pictures import CompareRequest
from harness.core.requests.signatures import NOT_TAKEN, signed
from harness.core.requests.training import TrainRequest
from harness.core.requests.zoo import DownloadRequest
from harness.core.results import RunResult
from harness.core.settings import compose, replaced

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.architecture import ChannelOrder
    from harness.core.dataset import Dataset
    from harness.core.detections import Detections
    from harness.core.record import RunRecord
    from harness.core.requests import keywords
    from harness.data.given_images import ImageLike, Picture
    from harness.workflows.benchmark.sweep import SweepResult
    from harness.workflows.datasets.convert import ConvertReport
    from harness.workflows.model import Model
    from harness.workflows.pictures.compare import Comparison
    from harness.workflows.training.dry_run import DryRun
    from harness.zoo.download import Outcome
    from harness.zoo.listing import ListedModel

Request = TypeVar("Request")

#: Whether and where progress and notices are shown.
Shown = Progress | bool


@signed
def evaluate(
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.EvaluateSettings],
) -> RunResult:
    """Measure AP of a model and check it against its references, as ``harness eval``.

    Args:
        progress: True shows progress in the terminal; an object of the protocol
            `harness.core.progress.Progress` is called instead.
        command: What the record says was typed; None for the command line that does the same.
        **settings: Those of `EvalRequest`.

    Returns:
        The record and the run folder. A verdict that failed is no error: see `RunResult.passed`.

    Raises:
        HarnessError: The run could not be made; `UsageError` for what was asked wrongly.
    """
    from harness.workflows.evaluation.evaluate import evaluate

    request = _composed("evaluate", EvalRequest, settings)
    record, folder = evaluate(
        request,
        progress=_progress(progress),
        command=_command(command, "eval", request),
        now=_now(),
        stopwatch=_stopwatch(),
    )
    return RunResult(record=record, folder=folder)


@signed
def benchmark(
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.BenchmarkSettings],
) -> RunResult:
    """Measure seconds per image and check them against references, as ``harness bench``.

    Args:
        progress: As of `evaluate`.
        command: As of `evaluate`.
        **settings: Those of `BenchRequest`.

    Returns:
        The record and the run folder; with ``profiling=True`` the profile is there, too.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.benchmark.bench import bench

    request = _composed("benchmark", BenchRequest, settings)
    record, folder = bench(
        request,
        progress=_progress(progress),
        command=_command(command, "bench", request),
        now=_now(),
    )
    return RunResult(record=record, folder=folder)


@signed
def sweep(
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.SweepSettings],
) -> SweepResult:
    """Measure speed, memory and AP of many settings of one model, as ``harness sweep``.

    Args:
        progress: As of `evaluate`.
        command: As of `evaluate`.
        **settings: Those of `SweepRequest`.

    Returns:
        Every cell with its numbers, the recommendations, and the run folder.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.benchmark.sweep import SweepResult, sweep

    request = _composed("sweep", SweepRequest, settings)
    found, folder = sweep(
        request,
        progress=_progress(progress),
        command=_command(command, "sweep", request),
        now=_now(),
    )
    return SweepResult(sweep=found, folder=folder)


@signed
def score(
    run: str | Path | None = None,
    *,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.ScoreSettings],
) -> RunRecord:
    """Score saved predictions again, on the CPU and without torch, as ``harness score``.

    Args:
        run: Run folder of an evaluation; or give ``predictions`` and ``annotations``.
        command: As of `evaluate`.
        **settings: Those of `ScoreRequest`.

    Returns:
        The record; it is written only where ``output`` says.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.evaluation.score import score_saved

    request = _composed("score", ScoreRequest, {"run": run, **settings})
    return score_saved(
        request,
        command=_command(command, "score", request),
        now=_now(),
        stopwatch=_stopwatch(),
    )


@signed
def train(
    *,
    progress: Shown | Callable[[], Progress] = False,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.TrainSettings],
) -> RunResult:
    """Retrain a model, or fine-tune it on data of your own, as ``harness train``.

    Args:
        progress: As of `evaluate`; also what makes one, in the process that shows it.
        command: As of `evaluate`.
        **settings: Those of `TrainRequest`, without ``dry_run``: see `plan_training`. With
            ``processes`` above 1 the calling script needs an ``if __name__ == "__main__"``.

    Returns:
        The record of the last evaluation, and the run folder with weights and curves.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.training.group import launched
    from harness.workflows.training.job import resolve_training
    from harness.workflows.training.train import train

    world = launched()
    if world is not None and not world.is_first:
        raise UsageError(
            "a launcher has started this process beside the one that trains",
            hint="call harness.api.follow_training here, or launch the command: harness train",
        )
    request = _composed("train", TrainRequest, settings)
    record, folder = train(
        resolve_training(request),
        progress=_progress_maker(progress),
        command=_command(command, "train", request),
        now=_now(),
        stopwatch=_stopwatch(),
    )
    return RunResult(record=record, folder=folder)


@signed
def plan_training(**settings: Unpack[keywords.TrainSettings]) -> DryRun:
    """Plan a training and measure one iteration of it, as ``harness train --dry-run``.

    Args:
        **settings: Those of `train`.

    Returns:
        The schedule, and what it would take; nothing is written.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.training.dry_run import plan_of
    from harness.workflows.training.job import resolve_training

    request = _composed("plan_training", TrainRequest, settings)
    return plan_of(resolve_training(replaced(request, dry_run=True)))


def follow_training(**settings: Unpack[keywords.TrainSettings]) -> None:
    """Do the share of a process that a launcher started beside the one that calls `train`.

    Args:
        **settings: Those of `train`, the same in every process; ``output`` is needed.

    Raises:
        HarnessError: As `train`.
    """
    from harness.workflows.training.job import resolve_training
    from harness.workflows.training.train import follow

    follow(resolve_training(_composed("train", TrainRequest, settings)))


@signed
def compare(
    first: str | Path,
    second: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.CompareSettings],
) -> Comparison:
    """Compare two evaluations of the same images, as ``harness compare``.

    Args:
        first: Run folder of an evaluation.
        second: Another one.
        progress: As of `evaluate`.
        **settings: Those of `CompareRequest`.

    Returns:
        What differs in settings, metrics (with what resampling says of noise), categories and
        images; the second against the first.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.pictures.compare import compare_runs
    from harness.workflows.pictures.compare_images import write_page

    shown = _progress(progress)
    request = _composed("compare", CompareRequest, {"first": first, "second": second, **settings})
    found = compare_runs(request.first, request.second, resamples=request.resamples, progress=shown)
    if request.html is not None:
        write_page(found, request.first, request.second, request.html, shown)
    return found


@signed
def convert(
    source: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.ConvertSettings],
) -> ConvertReport:
    """Convert annotations of a labelling program to a COCO file, as ``harness data convert``.

    Args:
        source: File or folder of annotations.
        progress: As of `evaluate`.
        **settings: Those of `ConvertRequest`; ``output`` is needed.

    Returns:
        What was read, written, left out, and why.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.datasets.convert import convert

    request = _composed("convert", ConvertRequest, {"source": source, **settings})
    return convert(request, _progress(progress))


@signed
def download(
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.DownloadSettings],
) -> tuple[Outcome, ...]:
    """Fetch and prove data sets and checkpoints, as ``harness download``.

    Args:
        progress: As of `evaluate`.
        **settings: Those of `DownloadRequest`.

    Returns:
        What became of each artefact of the lock that was asked for.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.files.fetch import FetchOptions
    from harness.zoo.download import download
    from harness.zoo.lock import read_lock

    request = _composed("download", DownloadRequest, settings)
    return tuple(
        download(
            read_lock(),
            request,
            options=FetchOptions(progress=_progress(progress), jobs=request.jobs),
            now=_now,
        )
    )


def list_models(*, root: str | Path | None = None) -> tuple[ListedModel, ...]:
    """List the zoo, as ``harness models``.

    Args:
        root: Folder of checkpoints; None for the default of the command line.

    Returns:
        Every model entry with its references and whether its checkpoint is on disk.
    """
    from harness.files.layout import default_places
    from harness.zoo.listing import list_models

    return list_models(default_places()["datasets"] if root is None else Path(root))


@signed
def load_model(
    source: str | Path | None = None,
    **settings: Unpack[keywords.LoadModelSettings],
) -> Model:
    """Load a model that finds objects in images.

    Args:
        source: A model entry (``R_50_FPN_3x``), a run folder, or a checkpoint file; None for the
            embedded model.
        **settings: Those of `LoadRequest`.

    Returns:
        The model; use it in a ``with`` block, or close it.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.model import load

    given = {} if source is None else {"source": str(source)}
    return load(_composed("load_model", LoadRequest, {**given, **settings}))


@signed
def load_dataset(
    dataset: str | None = None,
    **settings: Unpack[keywords.LoadDatasetSettings],
) -> Dataset:
    """Load and validate a data set: images, categories and annotations, not the pixels.

    Args:
        dataset: A known name, such as ``coco_2017_val``; or give ``annotations`` and ``images``.
            Without either it is the embedded one.
        **settings: Those of `DatasetRequest`.

    Returns:
        The data set; `Dataset.ground_truth` is the parsed annotation file.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.data.catalog import requested_dataset

    return requested_dataset(
        _composed("load_dataset", DatasetRequest, {"dataset": dataset, **settings})
    )


@signed
def draw(
    image: ImageLike | None,
    detections: Detections,
    *,
    channel_order: ChannelOrder | None = None,
    **settings: Unpack[keywords.DrawSettings],
) -> Picture:
    """Draw detections on their image, as ``harness predict`` does.

    Args:
        image: The file, array or Pillow image that was predicted; None for the file that
            `Detections.source` names.
        detections: Of `Model.predict`.
        channel_order: RGB or BGR, of an array.
        **settings: Those of `DrawRequest`.

    Returns:
        A Pillow image, RGB.

    Raises:
        HarnessError: The image cannot be decoded, or is not that of the detections.
    """
    from harness.visualization.drawn import picture_of

    style = _composed("draw", DrawRequest, settings).style
    return picture_of(image, detections, style, channel_order=channel_order)


def _composed(function: str, kind: type[Request], settings: Mapping[str, Any]) -> Request:
    """The request of a call, every setting checked."""
    from harness.files.layout import default_places

    for name in NOT_TAKEN.get(function, ()):
        if name in settings:
            raise UsageError(f"{function}() takes no {name!r}")
    return compose(kind, settings, defaults=default_places())


def _command(given: Sequence[str] | None, name: str, request: Any) -> tuple[str, ...]:
    return command_line(name, request) if given is None else tuple(given)


def _progress(asked: Shown) -> Progress:
    if not isinstance(asked, bool):
        return asked
    if not asked:
        return Silent()
    from harness.report.terminal import TerminalProgress

    return TerminalProgress()


def _progress_maker(asked: Shown | Callable[[], Progress]) -> Callable[[], Progress]:
    """What makes the progress where it is shown; only this is sent to another process."""
    if isinstance(asked, bool):
        return partial(_progress, asked)
    if callable(asked):
        return asked
    return partial(_itself, asked)


def _itself(progress: Progress) -> Progress:
    return progress


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _stopwatch() -> Any:
    from harness.measure.timing import PhaseTimer

    return PhaseTimer(time.perf_counter, lambda: None)
