"""One cell of a sweep, measured in a process of its own: memory and switches are then its own.

Accuracy and speed are two passes: all images once, for their predictions; then some of them again
and again, in turn with the reference setting, for the clock.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

from harness.core.engine import Engine, notes_of
from harness.core.errors import IntegrityError
from harness.core.printable import counted
from harness.core.progress import Silent
from harness.core.requests.inference import TimingOptions
from harness.core.run_files import PREDICTIONS
from harness.core.tasks import Task, main_metric, of_objects
from harness.data.predictions import checked_predictions
from harness.files.environment import peak_process_bytes, usable_cpus
from harness.files.json import dumps, read, to_plain, to_typed
from harness.measure.bootstrap import SEED, Interval, compare_paired
from harness.measure.coco import check_coverage, score
from harness.measure.resampling import Matches, matches_of
from harness.measure.sweep import Speed
from harness.measure.timing import NULL_STOPWATCH, Clock, PhaseTimer, latency, percentile
from harness.workflows.benchmark.bench import COMPUTE_PHASES
from harness.workflows.evaluation.inference import (
    grouped,
    identity_of,
    infer_missing,
    prepared_batches,
)
from harness.workflows.evaluation.resolve import Job, open_job_engine
from harness.workflows.runs.checksums import (
    Line,
    damage_of,
    read_sums,
    require_undamaged,
    write_checked,
)
from harness.workflows.runs.merging import write_predictions
from harness.workflows.runs.shards import (
    finished_images,
    open_shard,
    read_lines,
    shard_path,
    shard_paths,
    stamps_of,
)

SPEED = "speed.json"

#: Images timed, at least a batch of them. They are held prepared: 32 of 800 × 1333 px are 100 MB.
IMAGES_TIMED = 32

T = TypeVar("T")

Notice = Callable[[str], None]
OpenEngine = Callable[[Job], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTask:
    """What to measure, in a folder of the cell's own."""

    job: Job
    """The proven job of the sweep with this cell's settings."""

    reference: Job | None
    """What is timed in turn with it; None for the reference cell itself."""

    folder: Path
    """Where the cell's shard and ``speed.json`` go."""

    timing: TimingOptions
    """How long the cell is measured."""


def measure_cell(task: CellTask) -> None:
    """Write the shard of predictions and ``speed.json`` into the cell's folder."""
    measure_with(task, open_engine=open_job_engine, clock=time.perf_counter)


def measure_with(task: CellTask, *, open_engine: OpenEngine, clock: Clock) -> None:
    """Measure a cell with a given engine and clock.

    Args:
        task: What to measure.
        open_engine: Opens the engine of a job.
        clock: Returns seconds.
    """
    job = task.job
    begun = clock()
    with closing(open_engine(job)) as engine:
        opened_s = clock() - begun
        prepared = _prepared(job, engine)
        batches = _batched(prepared, job.request.options.batch_size)
        begun = clock()
        engine.infer(batches[0], NULL_STOPWATCH)
        engine.synchronize()
        first_answer_s = opened_s + clock() - begun
        with open_shard(shard_path(task.folder, 0), identity_of(job, engine)) as shard:
            infer_missing(job, engine, shard, Silent())
        _warm_up(engine, batches, task.timing.warmup)
        # Read before the reference joins this process. The largest images are behind us.
        peak_bytes = engine.peak_memory_bytes() or peak_process_bytes()
        own, theirs = _time_in_turn(
            task, engine, batches=batches, prepared=prepared, open_engine=open_engine, clock=clock
        )
    speed = _speed(
        engine,
        batches=batches,
        own=own,
        theirs=theirs,
        peak_bytes=peak_bytes,
        first_answer_s=first_answer_s,
    )
    write_checked(task.folder, SPEED, dumps(to_plain(speed), indent=2) + "\n")


def is_measured(task: CellTask, notice: Notice) -> bool:
    """Return whether a cell's speed and predictions are there, and as they were written.

    Args:
        task: What was to be measured.
        notice: Called with a sentence for each damage.
    """
    if kept(task.folder / SPEED, Speed, notice) is None:
        return False
    faults: list[str] = []
    found = finished_images(shard_paths(task.folder), notice=faults.append)
    for fault in faults:
        notice(fault)
    if missing := len(set(task.job.dataset.image_ids) - found):
        notice(
            f"{task.folder}: {counted(missing, 'image is', 'images are')} missing or damaged "
            "and inferred again"
        )
    return not missing and not faults  # measuring writes a damaged identity again, too


def kept(path: Path, kind: type[T], notice: Notice) -> T | None:
    """Return what a file of a cell holds; None where it is missing, or damaged since.

    Args:
        path: The file; its checksum is beside it, if no older version wrote it.
        kind: A dataclass.
        notice: Called with a sentence for a damaged file.
    """
    if not path.exists():
        return None
    try:
        require_undamaged(path, read_sums(path.parent).get(path.name), repair="")
        return to_typed(kind, read(path), where=str(path))
    except IntegrityError as error:
        notice(f"damaged: {error.message}\n  what it holds is measured again")
        return None


def _prepared(job: Job, engine: Engine) -> list[Any]:
    """Return the images to time, prepared, in whole batches."""
    size = job.request.options.batch_size
    count = max(size, min(IMAGES_TIMED, len(job.dataset.images)) // size * size)
    records = grouped(job.dataset.images, size)[:count]
    with closing(prepared_batches(job, engine, records)) as batches:
        return [one for _, prepared in batches for one in prepared]


def _batched(prepared: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [prepared[start : start + size] for start in range(0, len(prepared), size)]


def _warm_up(engine: Engine, batches: Sequence[Sequence[Any]], images: int) -> None:
    for batch in islice(cycle(batches), math.ceil(images / len(batches[0]))):
        engine.infer(batch, NULL_STOPWATCH)


def _time_in_turn(
    task: CellTask,
    engine: Engine,
    *,
    batches: Sequence[Sequence[Any]],
    prepared: Sequence[Any],
    open_engine: OpenEngine,
    clock: Clock,
) -> tuple[list[list[float]], list[float]]:
    """Time the cell and its reference, one pass after the other.

    Returns:
        Seconds of each batch, a list a pass; and seconds of the reference's pass beside each.
    """
    with ExitStack() as opened:
        reference = None
        if task.reference is not None:
            reference = opened.enter_context(closing(open_engine(task.reference)))
        singles = _batched(prepared, 1)
        if reference is not None:
            _warm_up(reference, singles, task.timing.warmup)
        own: list[list[float]] = []
        theirs: list[float] = []
        begun = clock()
        while len(own) < task.timing.repeats or clock() - begun < task.timing.min_duration_s:
            own.append(_pass(engine, batches, clock))
            if reference is not None:
                theirs.append(sum(_pass(reference, singles, clock)))
    return own, theirs


def _pass(engine: Engine, batches: Sequence[Sequence[Any]], clock: Clock) -> list[float]:
    """Return seconds of pure compute of each batch."""
    spent = []
    for batch in batches:
        timer = PhaseTimer(clock, engine.synchronize)
        engine.infer(batch, timer)
        spent.append(sum(timer.seconds.get(name, 0.0) for name in COMPUTE_PHASES))
    return spent


def _speed(
    engine: Engine,
    *,
    batches: Sequence[Sequence[Any]],
    own: Sequence[Sequence[float]],
    theirs: Sequence[float],
    peak_bytes: int,
    first_answer_s: float,
) -> Speed:
    images = sum(len(batch) for batch in batches)
    numbers = latency([[sum(one) / images] for one in own])
    ratios = [slow / sum(one) for one, slow in zip(own, theirs, strict=bool(theirs))]
    by_batch = sorted(seconds for one in own for seconds in one)
    return Speed(
        engine=engine.info,
        fps=numbers.fps,
        ratio=statistics.median(ratios) if ratios else 1.0,
        latency_p50_s=percentile(by_batch, 50),
        latency_p90_s=percentile(by_batch, 90),
        latency_p99_s=percentile(by_batch, 99),
        peak_memory_bytes=peak_bytes,
        first_answer_s=first_answer_s,
        passes=len(own),
        timed_images=images,
        notes=notes_of(engine),
    )


ACCURACY = "accuracy.json"

#: Draws of the paired bootstrap, as many as ``harness compare`` makes.
RESAMPLES = 200

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Content of ``accuracy.json``."""

    ap: dict[str, float | None]
    """AP by task, such as ``bbox/AP``, 0-100; None for one that cannot be computed."""

    delta: dict[str, Interval | None]
    """Difference from the reference cell by task; None where the images have no ground truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """What the cells are compared with: the ground truth, and the reference cell's predictions."""

    annotations: Mapping[str, Any]
    """The parsed annotation file."""

    image_ids: Sequence[int]
    """Ids of the evaluated images."""

    predictions: Rows
    """Rows of the reference cell, in COCO's format."""

    matches: Mapping[Task, Sequence[Matches]]
    """Matches of these rows with the ground truth by task, one an image and category."""

    stamps: Mapping[int, str]
    """State of the images' files when the reference cell inferred them, by image id."""


def standard_of(job: Job, reference: Path) -> Standard:
    """Return what the cells are compared with.

    Args:
        job: The sweep's job, with its ground truth.
        reference: Folder of the finished reference cell.

    Raises:
        IntegrityError: The shard lacks images, or is damaged.
    """
    annotations = job.dataset.ground_truth
    lines = read_lines(shard_paths(reference))
    predictions = _merged(job, annotations, reference, lines)
    return Standard(
        annotations=annotations,
        image_ids=job.dataset.image_ids,
        predictions=predictions,
        matches={
            task: matches_of(annotations, predictions, task, job.dataset.image_ids)
            for task in of_objects(job.architecture.tasks)
        },
        stamps=stamps_of(lines),
    )


def accuracy_of(job: Job, standard: Standard, folder: Path, notice: Notice) -> Accuracy:
    """Return the accuracy of a finished cell; computed once and kept in its folder.

    Args:
        job: The job of the cell.
        standard: What it is compared with.
        folder: Folder of the cell.
        notice: Called with a sentence where what was kept is damaged.

    Raises:
        IntegrityError: The shard lacks images, or is damaged.
    """
    found = kept(folder / ACCURACY, Accuracy, notice)
    sums = read_sums(folder)
    if found is not None and not damage_of(folder, {PREDICTIONS: sums.get(PREDICTIONS, "")}):
        return found
    lines = read_lines(shard_paths(folder))
    predictions = _merged(job, standard.annotations, folder, lines)
    tasks = of_objects(job.architecture.tasks)
    metrics = score(
        standard.annotations,
        predictions,
        tasks=tasks,
        image_ids=standard.image_ids,
        processes=usable_cpus(),
    ).metrics
    found = Accuracy(
        ap={main_metric(task): metrics[main_metric(task)] for task in tasks},
        delta={main_metric(task): _delta(standard, predictions, task) for task in tasks},
    )
    write_checked(folder, ACCURACY, dumps(to_plain(found), indent=2) + "\n")
    return found


def _merged(job: Job, annotations: Mapping[str, Any], folder: Path, lines: Sequence[Line]) -> Rows:
    check_coverage(job.dataset.image_ids, [line["image_id"] for line in lines])
    rows = write_predictions(folder / PREDICTIONS, lines)
    return checked_predictions(rows, annotations, where=str(folder / PREDICTIONS))


def _delta(standard: Standard, predictions: Rows, task: Task) -> Interval | None:
    """Return the difference from the reference; None where the images have no ground truth."""
    own = standard.matches[task]
    if predictions != standard.predictions:
        own = matches_of(standard.annotations, predictions, task, standard.image_ids)
    found = compare_paired(
        standard.matches[task],
        own,
        images=len(standard.image_ids),
        resamples=RESAMPLES,
        seed=SEED,
        advance=lambda _: None,
    )["AP"]
    return None if math.isnan(found.difference) or math.isnan(found.low) else found
