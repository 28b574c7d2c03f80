"""Images through an engine: decoded and resized ahead in threads, finished ones to a shard.

Threads are enough to decode ahead: Pillow releases the GIL while it decodes and resizes (decision
0003).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from harness.core.dataset import ImageRecord
from harness.core.detections import Detections
from harness.core.engine import Engine
from harness.core.errors import HarnessError, RunFailedError
from harness.core.progress import Progress
from harness.data.images import load_image
from harness.files.json import to_plain
from harness.measure.timing import NULL_STOPWATCH
from harness.pipeline.resolve import Job
from harness.pipeline.shards import line_of, open_shard

#: Batches each loader may be ahead of the network; bounds memory.
BATCHES_AHEAD = 2


def infer_to_shard(job: Job, engine: Engine, path: Path, progress: Progress) -> list[int]:
    """Predictions of every image of the job that the shard does not have yet, appended to it.

    Returns the ids of all finished images. A crash of the engine is a RunFailedError that names
    the image; what was finished stays.
    """
    with open_shard(path, identity_of(job, engine)) as shard:
        finished = set(shard.finished)
        missing = [record for record in job.dataset.images if record.image_id not in finished]
        done = len(shard.finished)
        with progress.task("infer", total=len(job.dataset.images), done=done, unit="img") as tick:
            for records, prepared in prepared_batches(job, engine, missing):
                for detections in _infer(engine, records, prepared):
                    shard.append(line_of(detections, job.dataset.categories))
                tick(len(records))
        return list(shard.finished)


def identity_of(job: Job, engine: Engine) -> dict[str, Any]:
    """What must be equal for two runs to share a shard: everything that can move a number."""
    return {
        "model": job.entry.name,
        "checkpoint_sha256": None if job.checkpoint is None else job.checkpoint.sha256,
        "dataset_sha256": job.dataset.digest,
        "images": len(job.dataset.images),
        "engine": to_plain(engine.info),
        "batch_size": job.request.batch_size,
    }


def prepared_batches(
    job: Job, engine: Engine, records: Sequence[ImageRecord]
) -> Iterator[tuple[list[ImageRecord], list[Any]]]:
    """Batches of records with what the engine prepared of them, in order."""

    def prepare(record: ImageRecord) -> Any:
        return engine.prepare(load_image(record, job.dataset.images_dir), NULL_STOPWATCH)

    size = job.request.batch_size
    with ThreadPoolExecutor(job.request.loaders, thread_name_prefix="loader") as pool:
        ahead: deque[tuple[ImageRecord, Future[Any]]] = deque()
        waiting = iter(records)
        try:
            while True:
                room = size * (1 + BATCHES_AHEAD * job.request.loaders) - len(ahead)
                for record in islice(waiting, room):
                    ahead.append((record, pool.submit(prepare, record)))
                if not ahead:
                    return
                batch = [ahead.popleft() for _ in range(min(size, len(ahead)))]
                yield [record for record, _ in batch], [future.result() for _, future in batch]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _infer(
    engine: Engine, records: Sequence[ImageRecord], prepared: Sequence[Any]
) -> list[Detections]:
    try:
        return engine.infer(prepared, NULL_STOPWATCH)
    except HarnessError:
        raise
    except Exception as error:
        names = ", ".join(f"{record.image_id} ({record.file_name})" for record in records)
        raise RunFailedError(
            f"inference failed at image {names}: {type(error).__name__}: {error}",
            hint="finished images are kept; continue with --resume",
        ) from error
