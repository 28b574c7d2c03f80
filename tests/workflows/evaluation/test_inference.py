"""Images arrive in order and in bounds, and no failure becomes a low AP."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.dataset import ImageRecord
from harness.core.detections import Detections, Image
from harness.core.engine import Stopwatch
from harness.core.errors import IntegrityError, RunFailedError
from harness.core.progress import Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.settings import replaced
from harness.engines.fake import FakeEngine, open_fake
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.evaluation.inference import (
    BATCHES_AHEAD,
    grouped,
    identity_of,
    infer_missing,
    prepared_batches,
)
from harness.workflows.evaluation.resolve import Job, open_job_engine, resolve
from harness.workflows.runs.shards import SealedLine, Shard, open_shard

ORDER = [7, 9, 12, 42, 300, 1001]


def infer(job: Job, engine: Any, path: Path) -> list[int]:
    with open_shard(path, {}) as shard:
        infer_missing(job, engine, shard, Silent())
        return list(shard.finished)


@pytest.mark.parametrize("loaders", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_batches_keep_the_order(asked: InferenceRequest, batch_size: int, loaders: int) -> None:
    job = resolve(replaced(asked, batch_size=batch_size, loaders=loaders))
    engine = open_job_engine(job)
    batches = list(prepared_batches(job, engine, job.dataset.images))
    assert [record.image_id for records, _ in batches for record in records] == ORDER
    assert [image.image_id for _, prepared in batches for image in prepared] == ORDER
    assert [len(records) for records, _ in batches] == [
        min(batch_size, 6 - start) for start in range(0, 6, batch_size)
    ]


@pytest.mark.parametrize(
    ("batch_size", "order"), [(1, [1, 2, 3, 4, 5]), (2, [4, 2, 5, 1, 3]), (8, [4, 2, 5, 1, 3])]
)
def test_batches_are_of_like_shape(batch_size: int, order: list[int]) -> None:
    sizes = [(640, 480), (480, 640), (640, 400), (300, 600), (30, 40)]
    records = [
        ImageRecord(image_id=number, file_name="x.jpg", width_px=width, height_px=height)
        for number, (width, height) in enumerate(sizes, start=1)
    ]
    assert [one.image_id for one in grouped(records, batch_size)] == order


class Remembering(FakeEngine):
    """Keeps which images it saw together."""

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        seen.append([one.image_id for one in prepared])
        return super().infer(prepared, stopwatch)


seen: list[list[int]] = []


def test_a_batch_is_of_the_same_images_whoever_infers_it(
    asked: InferenceRequest, tmp_path: Path
) -> None:
    job = resolve(replaced(asked, batch_size=4))
    rows = open_fake(job.dataset, job.architecture)._rows
    engine = Remembering(rows, job.architecture)
    seen.clear()
    infer(job, engine, tmp_path / "whole.jsonl")
    whole = seen.copy()
    assert [len(batch) for batch in whole] == [4, 2]
    # One of a batch is missing, or a few of each: the batches are what they were.
    for number, share in enumerate([whole[0][1:2], [whole[0][3], whole[1][0]], whole[1]]):
        seen.clear()
        with open_shard(tmp_path / f"{number}.jsonl", {}) as shard:
            infer_missing(job, engine, shard, Silent(), share=share)
            assert sorted(shard.finished) == sorted(share)
        assert seen == [batch for batch in whole if set(batch) & set(share)]


class Counting(FakeEngine):
    """Counts how many images were prepared."""

    prepared = 0
    lock = threading.Lock()

    def prepare(self, image: Image, stopwatch: Stopwatch) -> Image:
        with self.lock:
            self.prepared += 1
        return super().prepare(image, stopwatch)


def test_loading_ahead_is_bounded(job: Job) -> None:
    loaders = 2
    records = job.dataset.images * 20
    crowded = replace(job, request=replaced(job.request, loaders=loaders))
    engine = Counting({}, job.architecture)
    batches = prepared_batches(crowded, engine, records)
    for taken in range(1, 10):
        next(batches)
        assert engine.prepared <= taken + BATCHES_AHEAD * loaders
    batches.close()
    assert engine.prepared < len(records)


def test_finished_images_are_not_computed_again(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    failing = open_fake(job.dataset, job.architecture, behaviour="failing", fail_at_image=42)
    with pytest.raises(RunFailedError, match=r"image 42 \(000000000042\.png\)"):
        infer(job, failing, path)
    engine = Counting(failing._rows, job.architecture)
    assert infer(job, engine, path) == ORDER
    assert engine.prepared == 3


def test_an_output_that_is_not_finite_ends_the_run(job: Job, tmp_path: Path) -> None:
    engine = open_fake(job.dataset, job.architecture, behaviour="nan")
    with pytest.raises(RunFailedError, match="image 7: the network's output is not finite"):
        infer(job, engine, tmp_path / "shard.jsonl")


class Bent(FakeEngine):
    """Answers rightly, but for one change."""

    change: dict[str, Any]

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        return [replace(one, **self.change) for one in super().infer(prepared, stopwatch)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"image_id": 8}, r"asked for images \[7\], it returned \[8\]"),
        ({"class_index": np.array([8])}, "classes 8…8 are not all in 0…7"),
        ({"class_index": np.array([-1])}, "classes -1…-1"),
        ({"masks": None}, "image 7: tiny returned no masks"),
    ],
)
def test_an_answer_to_another_question_ends_the_run(
    job: Job, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    rows = open_fake(job.dataset, job.architecture)._rows
    engine = Bent(rows, job.architecture)
    engine.change = change
    with pytest.raises(RunFailedError, match=complaint):
        infer(job, engine, tmp_path / "shard.jsonl")


def test_a_broken_image_is_named_and_what_came_before_is_kept(job: Job, tmp_path: Path) -> None:
    broken = job.dataset.images_dir / "000000000042.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=r"image 42: .*cannot be decoded"):
        infer(job, open_job_engine(job), tmp_path / "shard.jsonl")
    with open_shard(tmp_path / "shard.jsonl", {}) as shard:
        assert shard.finished == ORDER[:3]


class Lost(FakeEngine):
    """A GPU that is lost at the fourth image."""

    def infer(self, prepared: Sequence[Image], stopwatch: Stopwatch) -> list[Detections]:
        if prepared[0].image_id == ORDER[3]:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore of it")
        return super().infer(prepared, stopwatch)


def test_a_gpu_that_is_lost_costs_no_finished_image(job: Job, tmp_path: Path) -> None:
    rows = open_fake(job.dataset, job.architecture)._rows
    with pytest.raises(RunFailedError, match="inference failed at image 42 ") as caught:
        infer(job, Lost(rows, job.architecture), tmp_path / "shard.jsonl")
    assert caught.value.message.endswith("CUDA error: an illegal memory access was encountered")
    assert "nvidia-smi" in str(caught.value.hint)
    assert "then continue" in str(caught.value.hint)
    with open_shard(tmp_path / "shard.jsonl", {}) as shard:
        assert shard.finished == ORDER[:3]


class Unprepared(FakeEngine):
    def prepare(self, image: Image, stopwatch: Stopwatch) -> Image:
        raise MemoryError("no room")


def test_a_crash_while_loading_names_the_image(job: Job, tmp_path: Path) -> None:
    engine = Unprepared({}, job.architecture)
    with pytest.raises(RunFailedError, match=r"loading failed at image 7 .*MemoryError: no room"):
        infer(job, engine, tmp_path / "shard.jsonl")


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 5},
        {"batch_size": 2},
        {"max_detections": 50},
        {"short_edge_px": 300},
    ],
)
def test_another_request_has_another_identity(
    asked: InferenceRequest, job: Job, change: dict[str, Any]
) -> None:
    other = resolve(replaced(asked, **change))
    assert identity_of(other, open_job_engine(other)) != identity_of(job, open_job_engine(job))


def test_loading_differently_is_the_same_run(asked: InferenceRequest, job: Job) -> None:
    other = resolve(replaced(asked, loaders=5, limit=6))
    assert identity_of(other, open_job_engine(other)) == identity_of(job, open_job_engine(job))


def test_equal_gpus_share_a_run_and_other_thread_counts_on_a_cpu_do_not(job: Job) -> None:
    engine = open_fake(job.dataset, job.architecture)
    found = {}
    for device in ("cuda:0", "cuda:1", "cpu"):
        for threads in (1, 8):
            engine.info = replace(engine.info, device=device, threads=threads)
            found[device, threads] = identity_of(job, engine)
    assert found["cuda:0", 1] == found["cuda:1", 8]
    assert found["cpu", 1] != found["cpu", 8]


class Ahead(FakeEngine):
    """Begins batches before those before them are finished, as a GPU's engine does."""

    runs_ahead = True

    def begin(self, prepared: Sequence[Image]) -> Sequence[Image]:
        if any(image.image_id == self._fail_at_image for image in prepared):
            raise RuntimeError("no memory")
        return prepared

    def finish(self, pending: Sequence[Image]) -> list[Detections]:
        return self.infer(pending, NULL_STOPWATCH)


def ahead_of(job: Job, fail_at_image: int | None = None) -> Ahead:
    rows = open_fake(job.dataset, job.architecture)._rows
    return Ahead(rows, job.architecture, behaviour="noisy", fail_at_image=fail_at_image)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_engine_that_runs_ahead_leaves_the_same_shard(
    asked: InferenceRequest, tmp_path: Path, batch_size: int
) -> None:
    job = resolve(replaced(asked, batch_size=batch_size))

    infer(job, open_fake(job.dataset, job.architecture, behaviour="noisy"), tmp_path / "one.jsonl")
    infer(job, ahead_of(job), tmp_path / "ahead.jsonl")

    assert (tmp_path / "ahead.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_lines_are_made_beside_the_thread_that_begins_batches(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads: set[str] = set()
    original = Shard.sealed_text

    def sealed(self: Shard, image_id: int, text: bytes) -> SealedLine:
        threads.add(threading.current_thread().name.partition("_")[0])
        return original(self, image_id, text)

    monkeypatch.setattr(Shard, "sealed_text", sealed)

    infer(job, ahead_of(job), tmp_path / "shard.jsonl")

    assert threads == {"finisher"}


def test_what_was_begun_before_a_crash_is_kept(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"

    with pytest.raises(RunFailedError, match=r"image 42 \(000000000042\.png\): .*no memory"):
        infer(job, ahead_of(job, fail_at_image=42), path)

    with open_shard(path, {}) as shard:
        assert shard.finished == ORDER[:3]


def test_another_answer_of_an_engine_that_runs_ahead_ends_the_run(job: Job, tmp_path: Path) -> None:
    class Wrong(Ahead):
        def finish(self, pending: Sequence[Image]) -> list[Detections]:
            return [replace(one, image_id=8) for one in super().finish(pending)]

    rows = open_fake(job.dataset, job.architecture)._rows
    with pytest.raises(RunFailedError, match=r"asked for images \[7\], it returned \[8\]"):
        infer(job, Wrong(rows, job.architecture), tmp_path / "shard.jsonl")
