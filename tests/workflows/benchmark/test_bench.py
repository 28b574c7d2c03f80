"""What the clock counts, with a clock that ticks once a reading."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.checks import Reference, Status, Tolerance
from harness.core.detections import Detections, Image
from harness.core.engine import Engine, Stopwatch
from harness.core.errors import RunFailedError, UsageError
from harness.core.progress import Silent
from harness.core.record import RunRecord
from harness.core.requests.inference import BenchRequest, InferenceRequest
from harness.core.settings import replaced
from harness.engines.fake import FakeEngine, open_fake
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.benchmark.bench import _checks, bench
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.folder import read_record, utc_now

#: Phases of Phased.infer: each is one tick long, and only the middle three are pure compute.
PHASES = ("transfer", "forward", "paste", "encode")


class Phased(FakeEngine):
    """The fake engine, with every phase of a real one; counts calls and synchronizations."""

    calls = 0
    timed_calls = 0
    synchronized = 0

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        self.calls += 1
        self.timed_calls += stopwatch is not NULL_STOPWATCH
        for name in PHASES:
            with stopwatch.phase(name):
                pass
        return super().infer(prepared, NULL_STOPWATCH)

    def synchronize(self) -> None:
        self.synchronized += 1


@pytest.fixture
def engines() -> list[Phased]:
    """The engines that were opened."""
    return []


@pytest.fixture
def measured(
    asked: InferenceRequest, tmp_path: Path, engines: list[Phased]
) -> Callable[..., RunRecord]:
    def open_phased(job: Job) -> Engine:
        rows = open_fake(job.dataset, job.architecture)._rows
        engines.append(Phased(rows, job.architecture))
        return engines[-1]

    def run(**given: Any) -> RunRecord:
        ticks = itertools.count()
        inference = given.pop("inference", asked)
        changes = {"min_duration_s": 0.0, "output": tmp_path / "run", **given}
        record, folder = bench(
            replaced(BenchRequest(inference=inference), **changes),
            progress=Silent(),
            command=("harness", "bench"),
            now=utc_now(),
            clock=lambda: float(next(ticks)),
            open_engine=open_phased,
        )
        assert read_record(folder) == record
        return record

    return run


def test_a_gpu_that_fails_ends_a_benchmark_without_a_traceback(
    measured: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def infer(*_: object) -> list[Detections]:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nmore of it")

    monkeypatch.setattr(Phased, "infer", infer)
    with pytest.raises(RunFailedError, match="the GPU failed: CUDA error: uncorrectable"):
        measured()


def test_pure_compute_is_transfer_forward_and_paste(measured: Callable[..., RunRecord]) -> None:
    metrics = measured().metrics
    assert metrics["s_per_image"] == 3.0
    assert metrics["fps"] == pytest.approx(1 / 3)
    assert [metrics[f"latency_{name}_s"] for name in ("p50", "p90", "p99")] == [3.0] * 3
    for name in ("load", *PHASES):
        assert metrics[f"phase/{name}_s"] == 1.0
    assert metrics["spread"] == 0.0
    assert metrics["detections_per_image"] == 9 / 6
    assert (metrics["peak_memory_bytes"] or 0) > 2**20
    assert (metrics["end_to_end_fps"] or 0) > 0
    assert metrics["gpu_clock_mhz"] is None


def test_a_batch_counts_once_for_each_of_its_images(
    measured: Callable[..., RunRecord], asked: InferenceRequest
) -> None:
    record = measured(inference=replaced(asked, batch_size=4), repeats=1)
    assert record.metrics["timed_images"] == 6
    # Batches of four and two: 3 ticks for each, shared by their images.
    assert record.metrics["s_per_image"] == pytest.approx((4 * 3 / 4 + 2 * 3 / 2) / 6)
    assert any("batch size is 4" in sentence for sentence in record.protocol_deviations)


@pytest.mark.parametrize(("warmup", "batch_size", "calls"), [(0, 1, 0), (5, 1, 5), (5, 4, 2)])
def test_warmup_is_not_timed(
    measured: Callable[..., RunRecord],
    asked: InferenceRequest,
    engines: list[Phased],
    warmup: int,
    batch_size: int,
    calls: int,
) -> None:
    measured(inference=replaced(asked, batch_size=batch_size), warmup=warmup, repeats=1)
    batches = -(-6 // batch_size)
    assert engines[0].timed_calls == batches
    assert engines[0].calls == calls + batches + batches  # warm-up, timed, end to end


def test_the_device_is_synchronized_before_every_reading(
    measured: Callable[..., RunRecord], engines: list[Phased]
) -> None:
    measured(repeats=2)
    assert engines[0].synchronized >= 2 * len(PHASES) * engines[0].timed_calls


def test_passes_go_on_until_the_duration_is_there(measured: Callable[..., RunRecord]) -> None:
    # A pass over six images reads the clock 48 times, and once more to see whether it is enough.
    assert measured(repeats=1, min_duration_s=120.0).metrics["repeats"] == 3


def test_a_subset_does_not_bend_a_speed(
    measured: Callable[..., RunRecord], asked: InferenceRequest
) -> None:
    record = measured(inference=replaced(asked, limit=2))
    assert record.metrics["timed_images"] == 6.0
    assert not any("images were evaluated" in sentence for sentence in record.protocol_deviations)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"warmup": -1}, "--warmup must be at least 0, got -1"),
        ({"repeats": 0}, "--repeats must be at least 1, got 0"),
        ({"min_duration_s": -1.0}, "--min-duration"),
        ({"min_duration_s": float("inf")}, "--min-duration"),
        ({"min_duration_s": float("nan")}, "--min-duration"),
    ],
)
def test_refusals(
    measured: Callable[..., RunRecord], change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        measured(**change)


@pytest.mark.parametrize(
    ("device", "seconds", "status"),
    [
        ("Board", 0.044, Status.PASS),
        ("Board", 0.020, Status.PASS),
        ("Board", 0.060, Status.FAIL),
        ("Other board", 0.020, Status.NOT_COMPARABLE),
    ],
)
def test_a_speed_is_judged_on_its_own_device_and_may_be_faster(
    job: Job, device: str, seconds: float, status: Status
) -> None:
    reference = Reference(
        metric="s_per_image",
        value=0.043,
        tolerance=Tolerance(below=None, above=0.005, source="test"),
        dataset="annotations",
        device_class="Board",
        source="test",
    )
    published = replace(job, entry=replace(job.entry, references=(reference,)))
    (check,) = _checks(published, {"s_per_image": seconds}, (), device)
    assert check.status is status
