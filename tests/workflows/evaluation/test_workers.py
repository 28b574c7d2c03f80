"""Several processes, one evaluation: the same bytes for any number of them, however they end."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.engine import EngineInfo
from harness.core.errors import HarnessError, RunFailedError, UsageError
from harness.core.progress import Advance, Silent
from harness.core.record import RunRecord
from harness.core.requests.inference import InferenceRequest
from harness.core.run_files import PREDICTIONS, RECORD, SHARDS
from harness.core.settings import replaced
from harness.engines.opening import worker_devices
from harness.workflows.evaluation.resolve import Job, open_job_engine
from harness.workflows.evaluation.workers import (
    ShardFacts,
    divided,
    missing_batches,
    throughput,
    with_threads_of_run,
)
from harness.workflows.runs.shards import open_shard, read_lines, shard_path, shard_paths
from tests.composing import composed
from tests.leases import leased

Evaluate = Callable[..., tuple[RunRecord, Path]]


class Watched(Silent):
    """Tells a function how many images were finished so far, and keeps the notices."""

    def __init__(self, watch: Callable[[int], None] = lambda _: None) -> None:
        self.watch = watch
        self.finished = 0
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        self.finished = done

        def advance(units: int, note: str = "") -> None:
            self.finished += units
            self.watch(self.finished)

        yield advance


@pytest.fixture
def whole(evaluated: Evaluate, tmp_path: Path) -> bytes:
    """The predictions of one process."""
    _, folder = evaluated(tmp_path / "whole")
    return (folder / PREDICTIONS).read_bytes()


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(8, marks=pytest.mark.slow)]
)
def test_any_number_of_workers_gives_the_same_bytes(
    evaluated: Evaluate, tmp_path: Path, whole: bytes, workers: int
) -> None:
    progress = Watched()
    record, folder = evaluated(tmp_path / "run", workers=workers, progress=progress)
    assert (folder / PREDICTIONS).read_bytes() == whole
    assert record.metrics["segm/AP"] == pytest.approx(100)
    assert progress.finished == 6
    assert len(shard_paths(folder)) == min(workers, 6)
    together = record.metrics["throughput/all_devices_fps"] or 0
    alone = record.metrics["throughput/one_device_fps"] or 0
    assert together > 0
    assert alone > 0


def test_a_killed_worker_goes_on_with_what_is_missing(
    evaluated: Evaluate, tmp_path: Path, small_coco: Path, whole: bytes
) -> None:
    """Of 7, 42 and 300 the first shard has the first when its process is killed."""
    killed = []
    with leased(small_coco / "images" / f"{42:012d}.png") as release:

        def kill(finished: int) -> None:
            if finished == 5 and not killed:
                workers = {child.name: child for child in multiprocessing.active_children()}
                workers["shard 0000"].kill()
                killed.append(finished)
                release()

        progress = Watched(kill)
        _, folder = evaluated(tmp_path / "run", workers=3, progress=progress)
    assert killed == [5]
    assert "shard 0000: its process ended by SIGKILL" in progress.notices[-1]
    assert (folder / PREDICTIONS).read_bytes() == whole
    assert [line["image_id"] for line in read_lines([shard_path(folder, 0)])] == [7, 42]


@pytest.mark.slow
def test_a_worker_that_is_always_killed_ends_the_run_which_can_go_on(
    evaluated: Evaluate, tmp_path: Path, whole: bytes
) -> None:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.01):
            for child in multiprocessing.active_children():
                if child.name == "shard 0001":
                    child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    run = tmp_path / "run"
    try:
        with pytest.raises(RunFailedError, match=r"shard 0001: .* 3 times") as caught:
            evaluated(run, workers=2)
    finally:
        over.set()
        killer.join()
    assert f"log: {shard_path(run, 1).with_suffix('.log')}" in (caught.value.hint or "")
    assert "--resume" in (caught.value.hint or "")
    assert not (run / RECORD).exists()
    record, _ = evaluated(run, workers=3, resume=True)
    assert (run / PREDICTIONS).read_bytes() == whole
    assert record.metrics["bbox/AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    "workers",
    [
        None,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(4, marks=pytest.mark.slow),
    ],
)
def test_what_two_workers_began_any_number_finishes(
    evaluated: Evaluate, tmp_path: Path, small_coco: Path, whole: bytes, workers: int | None
) -> None:
    image = small_coco / "images" / f"{300:012d}.png"
    content = image.read_bytes()
    image.write_bytes(b"")
    run = tmp_path / "run"
    with pytest.raises(HarnessError, match="image 300"):
        evaluated(run, workers=2)
    image.write_bytes(content)
    before = {line["image_id"] for line in read_lines(shard_paths(run))}
    assert 300 not in before
    progress = Watched()
    record, _ = evaluated(run, workers=workers, resume=True, progress=progress)
    assert (run / PREDICTIONS).read_bytes() == whole
    assert record.metrics["segm/AP"] == pytest.approx(100)


def test_a_run_that_lost_only_its_record_infers_nothing(
    evaluated: Evaluate, tmp_path: Path, whole: bytes
) -> None:
    _, run = evaluated(tmp_path / "run", workers=2)
    (run / RECORD).unlink()
    record, _ = evaluated(run, workers=2, resume=True)
    assert record.metrics["throughput/all_devices_fps"] is None
    assert (run / PREDICTIONS).read_bytes() == whole


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_stops_all_workers_and_says_how_to_continue(
    evaluated: Evaluate, tmp_path: Path, small_coco: Path, whole: bytes, number: int
) -> None:
    """The signal goes to all of them, as a terminal sends Ctrl-C."""
    run = tmp_path / "run"
    words = ["eval", "--engine", "fake", "--annotations", str(small_coco / "annotations.json")]
    words += ["--images", str(small_coco / "images"), "--output", str(run), "--workers", "3"]
    with leased(small_coco / "images" / f"{42:012d}.png") as release:
        parent = subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            while len(read_lines(shard_paths(run))) < 5:
                assert parent.poll() is None
                time.sleep(0.02)  # the cores are the workers'
            os.killpg(parent.pid, number)
            release()
            _, said = parent.communicate(timeout=30)
        finally:
            parent.kill()
    assert parent.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].strip().startswith("continue with: harness eval")
    for lock in (run / SHARDS).glob(".*.lock"):
        with lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a worker is left
    assert 5 <= len(read_lines(shard_paths(run))) <= 6
    evaluated(run, workers=2, resume=True)
    assert (run / PREDICTIONS).read_bytes() == whole


def test_no_worker_is_no_way_to_work(evaluated: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--workers must be from 1 to 512, got 0"):
        evaluated(tmp_path / "run", workers=0)


@given(
    images=st.integers(0, 60), workers=st.integers(1, 12), batch=st.integers(1, 5), data=st.data()
)
def test_shares_are_whole_batches_of_equal_number_and_nothing_is_lost(
    images: int, workers: int, batch: int, data: Any
) -> None:
    ids = list(range(100, 100 + images))
    finished = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
    whole = [ids[start : start + batch] for start in range(0, images, batch)]
    missing = [tuple(one for one in part if one not in finished) for part in whole]
    missing = [part for part in missing if part]
    request = composed(InferenceRequest, batch_size=batch)
    tasks = divided(request, Path("run"), missing, ["cpu"] * workers)
    shares = [task.image_ids for task in tasks]
    assert sorted(image for share in shares for image in share) == sorted(set(ids) - finished)
    touched = [[part for part in whole if set(part) & set(share)] for share in shares]
    assert sum(len(parts) for parts in touched) == len(missing)  # no batch is inferred twice
    counts = [len(parts) for parts in touched]
    assert max(counts) - min(counts) <= 1


def test_a_run_that_broke_inside_a_batch_computes_no_batch_twice(job: Job, tmp_path: Path) -> None:
    batched = replace(job, request=replaced(job.request, batch_size=4))
    first, *_ = missing_batches(batched, tmp_path)
    with open_shard(shard_path(tmp_path, 0), {}) as shard:
        shard.append({"image_id": first[0], "predictions": []})
    assert missing_batches(batched, tmp_path)[0] == first[1:]


def test_threads_do_not_follow_the_number_of_workers() -> None:
    tasks = [divided(InferenceRequest(), Path(), [(1,), (2,)], ["cpu"] * count) for count in (1, 2)]
    assert {task.request.options.threads for part in tasks for task in part} == {1}
    asked = divided(composed(InferenceRequest, threads=4), Path(), [(1,), (2,)], ["cpu"] * 2)
    assert {task.request.options.threads for task in asked} == {4}


def test_a_continued_run_keeps_its_number_of_threads(job: Job, tmp_path: Path) -> None:
    assert with_threads_of_run(job, tmp_path).request.options.threads is None
    with open_shard(shard_path(tmp_path, 3), {"threads": 5}):
        assert with_threads_of_run(job, tmp_path).request.options.threads == 5
    asked = replace(job, request=replaced(job.request, threads=2))
    assert with_threads_of_run(asked, tmp_path).request.options.threads == 2


def test_a_named_device_is_shared_and_gpus_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    assert worker_devices("native", "cuda:1", 2) == ["cuda:1", "cuda:1"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    assert worker_devices("native", "auto", 2) == ["cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match="3 workers need a GPU each, and 2"):
        worker_devices("native", "auto", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert worker_devices("native", "auto", 3) == ["cpu"] * 3


def test_throughput_of_all_is_not_the_speed_of_one(job: Job) -> None:
    info: EngineInfo = open_job_engine(job).info
    one = ShardFacts(engine=info, begun_s=100, ended_s=110, images_before=0, images=20)
    other = replace(one, begun_s=105, ended_s=115, images=10)
    idle = replace(one, images=0, ended_s=100)
    found = throughput([one, other, idle])
    assert found == {"throughput/all_devices_fps": 2.0, "throughput/one_device_fps": 1.5}
