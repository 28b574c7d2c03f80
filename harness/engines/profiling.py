"""Where an engine's time goes: by stage, by operator, and against what the device can do.

Every number has a pass of its own over the same few images, so that no observer is in another's
way: time without and with the stages marked (in turn), operations, bytes, and a trace.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from harness.core.engine import Engine, Stopwatch
from harness.core.progress import Advance, Progress
from harness.engines.cost import Traffic, fused_convolutions, measure_peak
from harness.engines.observed import STAGES, observed, parameters_by_stage
from harness.files.atomic import replacing
from harness.measure.profile import REST, OperatorCost, Overhead, Profile, StageCost, StageMeter
from harness.measure.timing import NULL_STOPWATCH, Clock

#: Images that are looked at, and batches of them that are traced: a trace has some thousand events
#: an image, and a browser has to load it.
IMAGES = 8
TRACED_BATCHES = 2

#: The file descriptor.
STDERR = 2

#: The engine's own phase around all stages of the network.
FORWARD = "forward"

METHOD = (
    "seconds: the mean of all repeats; the clock is read at both ends of every stage, the device "
    "synchronized before each reading; a stage is not charged with the stages inside it",
    "flops: torch.utils.flop_counter on the same images: convolutions and matrix products, a "
    "multiply-add is two; all other operators, and what NumPy computes, count as none",
    "moved bytes: the tensors each operator reads and writes, once each; views move nothing",
    "parameters: of the modules as they run, with BatchNorm folded where the engine folds it",
    "operators: torch.profiler, self time, of the first images in a pass of its own",
    "peak: the fastest of a large matrix product and two large convolutions at the run's "
    "precision, and a copy; each the best of several, in the same process, with the same threads",
)

Batches = Sequence[list[Any]]


def profile_engine(
    engine: Engine,
    batches: Batches,
    *,
    repeats: int,
    trace: Path,
    clock: Clock,
    progress: Progress,
) -> Profile:
    """Return the profile of a warm engine on the first IMAGES images.

    Args:
        engine: With a network.
        batches: Prepared by the engine.
        repeats: Passes that are timed.
        trace: File that a Chrome trace is written to.
        clock: Returns seconds.
        progress: Receives progress.

    Raises:
        UsageError: The engine has no network.
    """
    looked_at = batches[: max(1, IMAGES // len(batches[0]))]
    traced = batches[:TRACED_BATCHES]
    with progress.task("profile", total=repeats + 4, unit="pass") as tick:
        plain_s, seconds = _time(engine, looked_at, repeats, clock, tick)
        with FlopCounterMode(display=False, custom_mapping=fused_convolutions()) as counter:
            flops = _amounts(engine, looked_at, lambda: float(counter.get_total_flops()))
        tick(1)
        with Traffic() as traffic:
            moved = _amounts(engine, looked_at, lambda: float(traffic.moved_bytes))
        tick(1)
        operators, tracing = _trace(engine, traced, trace, clock)
        tick(1)
        peak = measure_peak(engine.info, synchronize=engine.synchronize, clock=clock)
        tick(1)
    return Profile(
        engine=engine.info,
        images=_count(looked_at),
        repeats=repeats,
        traced_images=_count(traced),
        seconds=plain_s,
        stages=_stages(engine, seconds, flops, moved),
        operators=operators,
        peak=peak,
        overhead=Overhead(stages=sum(seconds.values()) / plain_s - 1, operators=tracing),
        method=METHOD,
    )


def _time(
    engine: Engine, batches: Batches, repeats: int, clock: Clock, tick: Advance
) -> tuple[float, dict[str, float]]:
    """Return seconds per image with nothing observed, and by stage.

    The two are measured in turn: a busy machine then slows both.
    """
    plain_s = 0.0
    meter = StageMeter(clock, engine.synchronize)
    for _ in range(repeats):
        for batch in batches:
            plain_s += _plain_s(engine, [batch], clock)
            _observe(engine, [batch], meter)
        tick(1)
    images = _count(batches) * repeats
    return plain_s / images, {name: amount / images for name, amount in meter.amounts.items()}


def _amounts(engine: Engine, batches: Batches, read: Callable[[], float]) -> dict[str, float]:
    """Return what a counter counts by stage, per image."""
    meter = StageMeter(read, engine.synchronize)
    _observe(engine, batches, meter)
    return {name: amount / _count(batches) for name, amount in meter.amounts.items()}


def _trace(
    engine: Engine, batches: Batches, path: Path, clock: Clock
) -> tuple[tuple[OperatorCost, ...], float]:
    """Write a Chrome trace; return time by operator, and the share that tracing added."""
    plain_s = _plain_s(engine, batches, clock)
    activities = [ProfilerActivity.CPU]
    if engine.info.device.startswith("cuda"):
        activities.append(ProfilerActivity.CUDA)
    profiler = profile(activities=activities, acc_events=True)  # without it, torch warns
    messages = path.with_suffix(".log")
    with _stderr_to(messages):
        profiler.start()
    begun = clock()
    _observe(engine, batches, _Ranges())
    engine.synchronize()
    traced_s = clock() - begun
    with _stderr_to(messages):
        profiler.stop()
    with replacing(path) as aside:
        profiler.export_chrome_trace(str(aside))
    return _operators(profiler.key_averages(), _count(batches)), traced_s / plain_s - 1


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Append to a file what native code prints on stderr: the tracer calls a missing GPU an error.

    Python's own messages go there as well.
    """
    sys.stderr.flush()
    kept = os.dup(STDERR)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


class _Ranges:
    """A stopwatch whose phases become ranges of the trace."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        return record_function(name)


def _observe(engine: Engine, batches: Batches, stopwatch: Stopwatch) -> None:
    with observed(engine, stopwatch):
        for batch in batches:
            with stopwatch.phase(REST):
                engine.infer(batch, stopwatch)


def _plain_s(engine: Engine, batches: Batches, clock: Clock) -> float:
    engine.synchronize()
    begun = clock()
    for batch in batches:
        engine.infer(batch, NULL_STOPWATCH)
    engine.synchronize()
    return clock() - begun


def _stages(
    engine: Engine, seconds: dict[str, float], flops: dict[str, float], moved: dict[str, float]
) -> tuple[StageCost, ...]:
    """One row for each stage that ran; amounts are per image."""
    parameters = parameters_by_stage(engine)
    sources = {REST: (REST, FORWARD)}
    rows = []
    for stage in STAGES:
        names = sources.get(stage, (stage,))
        if any(name in seconds for name in names):
            rows.append(
                StageCost(
                    stage=stage,
                    seconds=sum(seconds.get(name, 0.0) for name in names),
                    flops=sum(flops.get(name, 0.0) for name in names),
                    moved_bytes=sum(moved.get(name, 0.0) for name in names),
                    parameters=parameters.get(stage, 0),
                )
            )
    return tuple(rows)


def _operators(events: Sequence[Any], images: int) -> tuple[OperatorCost, ...]:
    """Return operators, the longest first: on the GPU if any ran there, else on the CPU.

    A kernel's time is counted for the operator that launched it; the events of the kernels
    themselves, and the ranges of the stages, would count it twice.
    """
    ours = {*STAGES, FORWARD}
    found = [one for one in events if one.device_type == DeviceType.CPU and one.key not in ours]
    on_device = sum(one.self_device_time_total for one in found)
    total_us = on_device or sum(one.self_cpu_time_total for one in found)
    rows = [
        OperatorCost(
            operator=one.key,
            calls=one.count / images,
            cpu_s=one.self_cpu_time_total / images / 1e6,
            device_s=one.self_device_time_total / images / 1e6,
            share=(one.self_device_time_total if on_device else one.self_cpu_time_total) / total_us,
        )
        for one in found
    ]
    return tuple(sorted(rows, key=lambda row: row.share, reverse=True))


def _count(batches: Batches) -> int:
    return sum(len(batch) for batch in batches)
