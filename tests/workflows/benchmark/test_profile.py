"""What ``bench --profile`` leaves beside the record, and that it leaves the record alone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.progress import Silent
from harness.core.record import RunRecord
from harness.core.requests.inference import BenchRequest, InferenceRequest, TimingOptions
from harness.core.settings import replaced
from harness.measure.profile import whole
from harness.workflows.benchmark.bench import bench, read_profile
from harness.workflows.runs.folder import utc_now


@pytest.fixture
def networked(asked: InferenceRequest) -> InferenceRequest:
    """The embedded model on two of the small images."""
    return replaced(asked, engine="native", threads=1, limit=2)


def measure(inference: InferenceRequest, folder: Path, *, profiling: bool) -> RunRecord:
    """A bench by a clock that ticks once a reading, so that equal work takes equal time."""
    ticks = itertools.count()
    record, _ = bench(
        BenchRequest(
            inference=inference,
            timing=TimingOptions(warmup=0, repeats=1, min_duration_s=0.0),
            output=folder,
            profiling=profiling,
        ),
        progress=Silent(),
        command=("harness", "bench"),
        now=utc_now(),
        clock=lambda: float(next(ticks)),
    )
    return record


@pytest.mark.slow
def test_the_record_is_that_of_a_bench_without_and_the_profile_lies_beside_it(
    networked: InferenceRequest, tmp_path: Path
) -> None:
    plain = measure(networked, tmp_path / "plain", profiling=False)
    record = measure(networked, tmp_path / "run", profiling=True)
    assert record.metrics.keys() == plain.metrics.keys()
    differ = {name for name in plain.metrics if plain.metrics[name] != record.metrics[name]}
    assert differ <= {"peak_memory_bytes"}  # of this process, which did the other run as well
    assert record.stage_times_s == plain.stage_times_s
    assert record.checks == plain.checks

    assert set(record.artefacts) - set(plain.artefacts) >= {"profile", "trace"}
    assert all((tmp_path / "run" / file).is_file() for file in record.artefacts.values())
    profile = read_profile(tmp_path / "run")
    assert profile.engine == record.engine
    assert profile.images == 2
    assert whole(profile.stages).flops > 1e6
    assert len(profile.explanation) >= 6
    trace = json.loads((tmp_path / "run" / record.artefacts["trace"]).read_text("utf-8"))
    assert "backbone" in {event.get("name") for event in trace["traceEvents"]}


def test_an_engine_without_a_network_is_refused_before_anything_runs(
    asked: InferenceRequest, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="looks into the layers of a network, and the fake"):
        measure(asked, tmp_path / "run", profiling=True)
    assert not (tmp_path / "run").exists()
