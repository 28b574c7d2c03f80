"""One evaluation by several processes: who infers which images, on which device.

Every worker appends to a shard of its own and knows nothing of the others; what is missing is
always told from the shards, so a run may be continued by any other number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.engine import Engine, EngineInfo
from harness.core.progress import Progress, Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.settings import replaced
from harness.data.proven import require_same_images
from harness.engines.opening import worker_devices
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.launch.local import Work, run_workers
from harness.workflows.evaluation.inference import grouped, identity_of, infer_missing
from harness.workflows.evaluation.resolve import Job, open_job_engine, resolve
from harness.workflows.runs.folder import Run
from harness.workflows.runs.shards import (
    new_images,
    open_shard,
    read_header,
    read_lines,
    shard_path,
    shard_paths,
    silent,
    stamps_of,
)

#: CPU threads of one worker's network, whatever the number of workers. On a CPU the number of
#: threads decides the last digits (torch has another routine for 1×1 convolutions where it has one
#: thread), so a default that followed the number of workers would give each number its own result.
WORKER_THREADS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One worker's part: these images, into shard ``number`` of the run in ``folder``."""

    request: InferenceRequest
    folder: Path
    number: int
    image_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenTask:
    """A part with everything that was proven of the run: for a worker on the same machine."""

    job: Job
    """The job, with the device and threads of this worker."""

    task: ShardTask


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What a worker leaves beside its shard, first when it begins, again when it is through.

    begun_s, ended_s: Unix time of its first image and after its last. images_before: how many the
    shard had before.
    """

    engine: EngineInfo
    begun_s: float
    ended_s: float | None
    images_before: int
    images: int


def infer_shard(task: ShardTask) -> None:
    """Infer the images of ``task`` that its shard lacks, on a node, which proves its job again."""
    job = resolve(task.request)
    infer_share(job, open_job_engine(job), task, Silent())


def infer_proven(item: ProvenTask) -> None:
    """The same on this machine, where the job was proven; what a worker's process does."""
    infer_share(item.job, open_job_engine(item.job), item.task, Silent())


def infer_share(job: Job, engine: Engine, task: ShardTask, progress: Progress) -> ShardFacts:
    """The same with everything open; closes the engine."""
    path = shard_path(task.folder, task.number)
    with open_shard(path, identity_of(job, engine), notice=progress.notice) as shard:
        before = len(shard.finished)
        facts = ShardFacts(
            engine=engine.info, begun_s=time.time(), ended_s=None, images_before=before, images=0
        )
        _write_facts(task, facts)
        infer_missing(job, engine, shard, progress, share=task.image_ids)
        engine.close()
        facts = replace(facts, ended_s=time.time(), images=len(shard.finished) - before)
        _write_facts(task, facts)
    return facts


def infer_with_workers(job: Job, run: Run, workers: int) -> list[ShardFacts]:
    """The missing images of a run by ``workers`` processes on this machine."""
    missing = missing_images(job, run.folder, notice=run.progress.notice)
    count = min(workers, max(1, len(missing)))
    devices = worker_devices(job.engine, job.request.options.device, count)
    tasks = divided(job.request, run.folder, missing, devices)
    positions = dict.fromkeys((shard_path(run.folder, task.number) for task in tasks), 0)
    for path in positions:
        _, positions[path] = new_images(path, 0)
    total, proven = len(job.dataset.images), job.without_ground_truth()
    with run.progress.task("infer", total=total, done=total - len(missing), unit="img") as advance:

        def poll() -> None:
            for path, position in positions.items():
                images, positions[path] = new_images(path, position)
                if images:
                    advance(images)

        parts = [
            Work(
                name=f"shard {task.number:04d}",
                item=ProvenTask(job=replace(proven, request=task.request), task=task),
                log=shard_path(run.folder, task.number).with_suffix(".log"),
            )
            for task in tasks
        ]
        run_workers(infer_proven, parts, notice=run.progress.notice, poll=poll)
    return [read_facts(run.folder, task.number) for task in tasks]


def missing_images(
    job: Job, run_folder: Path, *, notice: Callable[[str], None] = silent
) -> list[int]:
    """Return the images of the job that no shard of the run has, in the order of its batches.

    Args:
        job: The evaluation.
        run_folder: Where its shards are.
        notice: Called with a sentence for each damaged line of a shard.

    Raises:
        AnotherRunError: Files of finished images were replaced since.
    """
    lines = read_lines(shard_paths(run_folder), notice=notice)
    require_same_images(job.dataset, stamps_of(lines))
    finished = {line["image_id"] for line in lines}
    records = grouped(job.dataset.images, job.request.options.batch_size)
    return [one.image_id for one in records if one.image_id not in finished]


def divided(
    request: InferenceRequest, folder: Path, missing: Sequence[int], devices: Sequence[str]
) -> list[ShardTask]:
    """One task a device, each with every n-th batch of the missing images.

    A batch that two tasks shared would be inferred by both.
    """
    size, count = request.options.batch_size, len(devices)
    batches = [tuple(missing[start : start + size]) for start in range(0, len(missing), size)]
    return [
        ShardTask(
            request=replaced(
                request, device=device, threads=request.options.threads or WORKER_THREADS
            ),
            folder=folder,
            number=number,
            image_ids=tuple(image for batch in batches[number::count] for image in batch),
        )
        for number, device in enumerate(devices)
    ]


def with_threads_of_run(job: Job, run_folder: Path) -> Job:
    """The job with as many CPU threads as the run was begun with, unless it asks for a number."""
    headers = (read_header(path) for path in shard_paths(run_folder))
    threads = next((header["threads"] for header in headers if header), None)
    if job.request.options.threads is not None or threads is None:
        return job
    return replace(job, request=replaced(job.request, threads=threads))


def throughput(facts: Sequence[ShardFacts]) -> dict[str, float | None]:
    """Images a second, from files to predictions: of all devices together, and of one.

    The first counts from the first worker's first image to the last one's last; the second is the
    mean over the workers. None where nothing was left to infer.
    """
    spans = [
        (one.begun_s, one.ended_s, one.images)
        for one in facts
        if one.ended_s is not None and one.images and one.ended_s > one.begun_s
    ]
    if not spans:
        return {"throughput/all_devices_fps": None, "throughput/one_device_fps": None}
    wall_s = max(ended for _, ended, _ in spans) - min(begun for begun, _, _ in spans)
    rates = [images / (ended - begun) for begun, ended, images in spans]
    return {
        "throughput/all_devices_fps": sum(images for *_, images in spans) / wall_s,
        "throughput/one_device_fps": sum(rates) / len(rates),
    }


def read_facts(run_folder: Path, number: int) -> ShardFacts:
    """What the worker of shard ``number`` left."""
    path = facts_path(run_folder, number)
    return to_typed(ShardFacts, read(path), where=str(path))


def facts_path(run_folder: Path, number: int) -> Path:
    """Where the worker of shard ``number`` leaves its facts."""
    return shard_path(run_folder, number).with_suffix(".facts.json")


def _write_facts(task: ShardTask, facts: ShardFacts) -> None:
    write_text(facts_path(task.folder, task.number), dumps(to_plain(facts), indent=2) + "\n")
