"""``harness bench`` and ``harness profile``: seconds per image the way Detectron2 measures them.

Scope: pure compute at the batch size asked for (1 by default) on real images with real weights:
transfer to the device, the network, masks pasted into the image. Decoding, resizing and run-length
encoding are timed beside it, not in it (the same division as in ``evaluation/evaluator.py`` of
Detectron2). Images are decoded and resized before the clock runs; the device is synchronized before
every reading of it. A profile is measured after that, and is in the same folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from harness.core.checks import Check
from harness.core.engine import EXPORT_FORMATS, PHASES, Engine, notes_of
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.requests.inference import BenchRequest, SweepRequest, TimingOptions
from harness.core.run_files import LOG
from harness.core.settings import check_settings
from harness.files.atomic import write_text
from harness.files.environment import gpu_clock_mhz, peak_process_bytes
from harness.files.json import dumps, read, to_plain, to_typed
from harness.measure.profile import Profile
from harness.measure.timing import NULL_STOPWATCH, Clock, PhaseTimer, latency
from harness.measure.verdict import check_references, unreferenced
from harness.report.profile import draw_profile, explain
from harness.workflows.evaluation.evaluate import record_of, sentences_on
from harness.workflows.evaluation.inference import grouped, prepared_batches
from harness.workflows.evaluation.resolve import Job, open_job_engine, require_job_settings, resolve
from harness.workflows.runs.folder import Run, announce, log, open_run, write_record

#: Phases that count as pure compute.
COMPUTE_PHASES = ("transfer", "forward", "paste")

#: At most this many prepared images are held: 200 of 800 × 1333 px are 640 MB.
IMAGES_HELD = 200


@dataclass
class Timings:
    """What was timed, in seconds."""

    repeats: list[list[float]] = field(default_factory=list)
    """Pure compute per image: a list a repeat, one number an image."""

    phases_s: dict[str, float] = field(default_factory=dict)
    """Total time of each phase."""

    images: int = 0
    """Number of images timed, each counted once a repeat."""

    detections: int = 0
    """Number of detections in them."""


def bench(
    request: BenchRequest,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    clock: Clock = time.perf_counter,
    open_engine: Callable[[Job], Engine] = open_job_engine,
) -> tuple[RunRecord, Path]:
    """Return the record of one speed run, and its folder; ``clock`` returns seconds."""
    check_values(request)
    job = resolve(request.inference).without_ground_truth()
    require_job_settings(job)
    deviations = job.deviations_on(job.image_count)  # a subset of the images does not bend a speed
    with open_run(
        request, job.dataset_facts, job.checkpoint, command=command, now=now, progress=progress
    ) as run:
        for sentence in sentences_on(job, deviations, published=_is_published(job)):
            announce(run, sentence)
        with closing(open_engine(job)) as engine:
            batches, preparation_s = _prepare(job, engine, clock, progress)
            timings = _measure(request.timing, engine, batches, clock, progress)
            metrics = _metrics(timings, preparation_s, engine)
            metrics["end_to_end_fps"] = _end_to_end_fps(job, engine, clock, progress)
            artefacts = {"log": LOG}
            if request.profiling:
                artefacts |= write_profile(
                    run.folder,
                    engine,
                    batches,
                    repeats=request.timing.repeats,
                    clock=clock,
                    progress=progress,
                )
        record = record_of(
            run,
            request,
            job,
            engine.info,
            metrics=metrics,
            stage_times_s=timings.phases_s,
            deviations=deviations,
            checks=_checks(job, metrics, deviations, engine.info.device_class),
            artefacts=artefacts,
            notes=notes_of(engine),
            scope="pure compute: " + " + ".join(COMPUTE_PHASES),
        )
        _finish(run, record)
    return record, run.folder


def _finish(run: Run, record: RunRecord) -> None:
    """Report what was done otherwise than asked, and write the record."""
    for sentence in record.notes:
        announce(run, f"note: {sentence}")
    log(run, record.verdict.line)
    write_record(run.folder, record)


def _prepare(
    job: Job, engine: Engine, clock: Clock, progress: Progress
) -> tuple[list[list[Any]], dict[str, float]]:
    """Return batches ready for the engine, and seconds per image of decoding and resizing."""
    records = grouped(job.dataset.images[:IMAGES_HELD], job.request.options.batch_size)
    timer = PhaseTimer(clock, lambda: None)
    prepared = []
    with progress.task("prepare", total=len(records), unit="img") as tick:
        for record in records:
            with timer.phase("load"):
                image = job.image_of(record)
            prepared.append(engine.prepare(image, timer))
            tick(1)
    size = job.request.options.batch_size
    batches = [prepared[start : start + size] for start in range(0, len(prepared), size)]
    return batches, {name: seconds / len(records) for name, seconds in timer.seconds.items()}


def _measure(
    asked: TimingOptions,
    engine: Engine,
    batches: Sequence[list[Any]],
    clock: Clock,
    progress: Progress,
) -> Timings:
    """Time passes over all batches, after a warm-up, until repeats and duration are reached."""
    warmup_batches = math.ceil(asked.warmup / len(batches[0]))
    for batch in islice(cycle(batches), warmup_batches):
        engine.infer(batch, NULL_STOPWATCH)
    timings = Timings()
    least = asked.repeats * sum(len(batch) for batch in batches)
    begun = clock()
    with progress.task("time", total=least, unit="img") as advance:
        while len(timings.repeats) < asked.repeats or clock() - begun < asked.min_duration_s:
            timings.repeats.append([])
            for batch in batches:
                _time_batch(engine, batch, timings, clock)
                advance(len(batch))
    return timings


def _time_batch(engine: Engine, batch: list[Any], timings: Timings, clock: Clock) -> None:
    timer = PhaseTimer(clock, engine.synchronize)
    detections = engine.infer(batch, timer)
    compute_s = sum(timer.seconds.get(name, 0.0) for name in COMPUTE_PHASES)
    timings.repeats[-1] += [compute_s / len(batch)] * len(batch)
    for name, seconds in timer.seconds.items():
        timings.phases_s[name] = timings.phases_s.get(name, 0.0) + seconds
    timings.images += len(batch)
    timings.detections += sum(len(one) for one in detections)


def _metrics(
    timings: Timings, preparation_s: dict[str, float], engine: Engine
) -> dict[str, float | None]:
    numbers = latency(timings.repeats)
    # On a CPU it is the process's, the held images included.
    peak = engine.peak_memory_bytes() or peak_process_bytes()
    phases = {
        **preparation_s,
        **{name: seconds / timings.images for name, seconds in timings.phases_s.items()},
    }
    return {
        "s_per_image": numbers.mean_s,
        "fps": numbers.fps,
        "latency_p50_s": numbers.p50_s,
        "latency_p90_s": numbers.p90_s,
        "latency_p99_s": numbers.p99_s,
        "spread": numbers.spread,
        **{f"phase/{name}_s": phases.get(name) for name in PHASES},
        "detections_per_image": timings.detections / timings.images,
        "peak_memory_bytes": float(peak),
        "gpu_clock_mhz": gpu_clock_mhz() if engine.info.device.startswith("cuda") else None,
        "timed_images": float(timings.images),
        "repeats": float(len(timings.repeats)),
    }


def _end_to_end_fps(job: Job, engine: Engine, clock: Clock, progress: Progress) -> float:
    """Return images per second from files to encoded detections, loading beside compute."""
    records = grouped(job.dataset.images[:IMAGES_HELD], job.request.options.batch_size)
    begun = clock()
    with progress.task("end to end", total=len(records), unit="img") as tick:
        for batch, prepared in prepared_batches(job, engine, records):
            engine.infer(prepared, NULL_STOPWATCH)
            tick(len(batch))
    engine.synchronize()
    return len(records) / (clock() - begun)


def _checks(
    job: Job,
    metrics: dict[str, float | None],
    deviations: tuple[str, ...],
    device_class: str,
) -> tuple[Check, ...]:
    checks = check_references(
        job.entry.references,
        metrics,
        dataset=job.dataset.name,
        deviations=deviations,
        device_class=device_class,
    )
    return checks + unreferenced(["s_per_image"], metrics, checks)


def _is_published(job: Job) -> bool:
    """Whether there is a speed of the model on this data set, or on any."""
    return any(
        one.metric == "s_per_image" and one.dataset in (None, job.dataset.name)
        for one in job.entry.references
    )


def check_values(request: BenchRequest | SweepRequest) -> None:
    """Check the numbers of passes and seconds of a request.

    Raises:
        UsageError: One is out of range.
    """
    check_settings(request)
    if isinstance(request, BenchRequest):
        check_profiling(request)


PROFILE = "profile.json"
TRACE = "trace.json"
PICTURE = "profile.png"

#: What a record calls the files of a profile.
ARTEFACTS = {"profile": PROFILE, "trace": TRACE, "profile_picture": PICTURE}


def check_profiling(request: BenchRequest) -> None:
    """Check that a request's profile is possible.

    Raises:
        UsageError: The engine has no torch network to profile.
    """
    engine = request.inference.options.engine
    if request.profiling and engine in ("fake", *EXPORT_FORMATS):
        raise UsageError(
            f"--profile looks into the layers of a network, and the {engine} engine has none",
            hint="leave out --engine",
        )


def write_profile(
    folder: Path,
    engine: Engine,
    batches: Sequence[list[Any]],
    *,
    repeats: int,
    clock: Callable[[], float],
    progress: Progress,
) -> dict[str, str]:
    """Profile a warm engine, and write the results into the folder of a run.

    The plot is left out where matplotlib is missing.

    Args:
        folder: The run folder.
        engine: Open, with its warm-up done.
        batches: Prepared images, all timed in every repeat.
        repeats: Passes over the batches.
        clock: Returns seconds.
        progress: Receives progress.

    Returns:
        Names of the written files by what a record calls them.
    """
    from harness.engines.profiling import profile_engine

    found = profile_engine(
        engine, batches, repeats=repeats, trace=folder / TRACE, clock=clock, progress=progress
    )
    found = replace(found, explanation=explain(found))
    write_text(folder / PROFILE, dumps(to_plain(found), indent=2) + "\n")
    draw_profile(found, folder / PICTURE)
    return {name: file for name, file in ARTEFACTS.items() if (folder / file).exists()}


def read_profile(folder: Path) -> Profile:
    """Return the profile that a benchmark wrote into its folder.

    Raises:
        UsageError: There is none.
        IntegrityError: It is damaged.
    """
    return to_typed(Profile, read(folder / PROFILE), where=str(folder / PROFILE))
