"""One evaluation by several processes: which one infers which images, on which device.

Every worker appends to a shard of its own and knows nothing of the others. What is missing is
always read from the shards, so any other number of workers can continue a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.engine import Engine, EngineInfo, notes_of
from harness.core.errors import HarnessError
from harness.core.progress import Progress, Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.settings import replaced
from harness.data.run_dataset import require_same_images, require_same_maps
from harness.engines.opening import modules_of, worker_devices
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.launch.local import Work, run_workers
from harness.workflows.evaluation.inference import grouped, identity_of, infer_missing
from harness.workflows.evaluation.resolve import Job, open_job_engine
from harness.workflows.runs.folder import Run
from harness.workflows.runs.shards import (
    MAP_STAMP,
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
    """One worker's part."""

    request: InferenceRequest
    """What is evaluated, with the device and threads of this worker."""

    folder: Path
    """The run folder."""

    number: int
    """Number of the shard, from 0."""

    image_ids: tuple[int, ...]
    """Ids of the images to infer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenTask:
    """A part with everything that was proven of the run: for a worker on the same machine."""

    job: Job
    """The job, with the device and threads of this worker."""

    task: ShardTask
    """The part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What a worker writes beside its shard, once when it begins and again when it has finished."""

    engine: EngineInfo
    """What computes it, and where."""

    begun_s: float
    """Unix time before its first image."""

    ended_s: float | None
    """Unix time after its last image; None while it works."""

    images_before: int
    """Images the shard had before."""

    images: int
    """Images the worker has added."""
    notes: tuple[str, ...] = ()
    """What the engine did otherwise than asked, a sentence each; of earlier workers as well."""


def infer_proven(item: ProvenTask) -> None:
    """Infer a part on this machine, where the job was proven; what a worker's process does.

    Raises:
        HarnessError: Inference failed.
    """
    with closing(open_job_engine(item.job)) as engine:
        infer_share(item.job, engine, item.task, Silent())


def infer_share(job: Job, engine: Engine, task: ShardTask, progress: Progress) -> ShardFacts:
    """Infer a part with an open engine, which stays open.

    Args:
        job: The evaluation.
        engine: Open and ready.
        task: The images, and the shard to append to.
        progress: Receives progress.

    Raises:
        RunFailedError: The engine failed; it names the images.
    """
    path = shard_path(task.folder, task.number)
    with open_shard(path, identity_of(job, engine), notice=progress.notice) as shard:
        before = len(shard.finished)
        facts = ShardFacts(
            engine=engine.info,
            begun_s=time.time(),
            ended_s=None,
            images_before=before,
            images=0,
            notes=_notes_of(task) if before else (),
        )
        _write_facts(task, facts)
        try:
            infer_missing(job, engine, shard, progress, share=task.image_ids)
        except BaseException:  # Ctrl-C as well: its finished images are kept
            with suppress(OSError, HarnessError):
                _write_facts(task, _with_notes(facts, engine))
            raise
        facts = replace(
            _with_notes(facts, engine), ended_s=time.time(), images=len(shard.finished) - before
        )
        _write_facts(task, facts)
    return facts


def _with_notes(facts: ShardFacts, engine: Engine) -> ShardFacts:
    return replace(facts, notes=tuple(dict.fromkeys((*facts.notes, *notes_of(engine)))))


def _notes_of(task: ShardTask) -> tuple[str, ...]:
    """Return what was noted of the images that a shard has; nothing where that is not known."""
    try:
        return read_facts(task.folder, task.number).notes
    except (OSError, HarnessError):
        return ()


def worker_modules(job: Job) -> tuple[str, ...]:
    """Return what a worker of a job imports, where that takes long."""
    of_engine = modules_of(job.engine, job.request.options.device)
    return of_engine and (__name__, *of_engine)


def infer_with_workers(
    job: Job, run: Run, missing: Sequence[tuple[int, ...]], workers: int
) -> list[ShardFacts]:
    """Infer the missing images of a run in processes on this machine.

    Args:
        job: The evaluation.
        run: The open run folder.
        missing: As `missing_batches` returns them.
        workers: Number of processes; fewer when fewer images are missing.

    Returns:
        The facts of each worker.

    Raises:
        RunFailedError: A worker failed; what was finished stays.
    """
    done = len(job.dataset.images) - sum(len(batch) for batch in missing)
    count = min(workers, max(1, len(missing)))
    devices = worker_devices(job.engine, job.request.options.device, count)
    tasks = divided(job.request, run.folder, missing, devices)
    positions = dict.fromkeys((shard_path(run.folder, task.number) for task in tasks), 0)
    for path in positions:
        _, positions[path] = new_images(path, 0)
    total, proven = len(job.dataset.images), job.without_ground_truth()
    with run.progress.task("infer", total=total, done=done, unit="img") as advance:

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
        run_workers(
            infer_proven,
            parts,
            notice=run.progress.notice,
            poll=poll,
            modules=worker_modules(job),
        )
    return [read_facts(run.folder, task.number) for task in tasks]


def missing_batches(
    job: Job, run_folder: Path, *, notice: Callable[[str], None] = silent
) -> list[tuple[int, ...]]:
    """Return the images of the job that no shard of the run has, by the batches of the job.

    Args:
        job: The evaluation.
        run_folder: Where its shards are.
        notice: Called with a sentence for each damaged line of a shard.

    Returns:
        Image ids; a batch that is finished in part has only those that are missing.

    Raises:
        AnotherRunError: Files of finished images were replaced since.
    """
    lines = read_lines(shard_paths(run_folder), notice=notice)
    require_same_images(job.dataset, stamps_of(lines))
    require_same_maps(job.dataset.panoptic, stamps_of(lines, MAP_STAMP))
    finished = {line["image_id"] for line in lines}
    size = job.request.options.batch_size
    ids = [one.image_id for one in grouped(job.dataset.images, size)]
    batches = (ids[start : start + size] for start in range(0, len(ids), size))
    missing = (tuple(one for one in batch if one not in finished) for batch in batches)
    return [batch for batch in missing if batch]


def divided(
    request: InferenceRequest,
    folder: Path,
    missing: Sequence[tuple[int, ...]],
    devices: Sequence[str],
) -> list[ShardTask]:
    """Return one task a device, each with every n-th batch that misses images.

    A batch that two tasks shared would be inferred by both.

    Args:
        request: What is evaluated.
        folder: The run folder.
        missing: As `missing_batches` returns them.
        devices: One name a task; a name may repeat.
    """
    count = len(devices)
    return [
        ShardTask(
            request=replaced(
                request, device=device, threads=request.options.threads or WORKER_THREADS
            ),
            folder=folder,
            number=number,
            image_ids=tuple(image for batch in missing[number::count] for image in batch),
        )
        for number, device in enumerate(devices)
    ]


def with_threads_of_run(job: Job, run_folder: Path) -> Job:
    """Return the job with the CPU threads the run was begun with, unless it sets a number."""
    headers = (read_header(path) for path in shard_paths(run_folder))
    threads = next((header["threads"] for header in headers if header), None)
    if job.request.options.threads is not None or threads is None:
        return job
    return replace(job, request=replaced(job.request, threads=threads))


def throughput(facts: Sequence[ShardFacts]) -> dict[str, float | None]:
    """Return images per second, from files to predictions: of all devices together, and of one.

    The first counts from the first worker's first image to the last one's last; the second is the
    mean over the workers. Both are None where nothing was left to infer.
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
    """Return what the worker of a shard wrote beside it.

    Raises:
        IntegrityError: The file is damaged.
    """
    path = facts_path(run_folder, number)
    return to_typed(ShardFacts, read(path), where=str(path))


def facts_path(run_folder: Path, number: int) -> Path:
    """Return the file of what the worker of a shard writes beside it."""
    return shard_path(run_folder, number).with_suffix(".facts.json")


def _write_facts(task: ShardTask, facts: ShardFacts) -> None:
    write_text(facts_path(task.folder, task.number), dumps(to_plain(facts), indent=2) + "\n")
