"""Images through an engine: decoded and resized ahead in threads, finished ones to a shard.

Threads are enough to decode ahead: Pillow releases the GIL while it decodes and resizes (decision
0003).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from harness import __version__
from harness.core.dataset import ImageRecord
from harness.core.detections import Detections
from harness.core.engine import Engine, EngineAhead, EngineInfo
from harness.core.errors import HarnessError, RunFailedError
from harness.core.progress import Progress
from harness.data.run_dataset import map_stamps, require_same_images, require_same_maps, stamp_of
from harness.engines.opening import loader_count
from harness.files.failures import failure_of, reason_of
from harness.files.json import to_plain
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.evaluation.panoptic import Counting
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.checksums import Line
from harness.workflows.runs.line_text import text_of
from harness.workflows.runs.shards import MAP_STAMP, STAMP, SealedLine, Shard

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Batches each loader may be ahead of the network; bounds memory.
BATCHES_AHEAD = 2

#: Threads that finish what an engine that runs ahead has begun; the batches it is ahead.
FINISHERS = 3


def infer_missing(
    job: Job,
    engine: Engine,
    shard: Shard,
    progress: Progress,
    *,
    share: Collection[int] | None = None,
) -> None:
    """Append the predictions of every image that the shard does not have yet.

    Args:
        job: The evaluation.
        engine: Open and ready.
        shard: Receives the predictions, a line an image.
        progress: Receives progress.
        share: Ids of the images to infer; None for all images of the job.

    Raises:
        RunFailedError: The engine failed. It names the image; what was finished stays.
        IntegrityError: An image is missing or cannot be decoded.
    """
    wanted = set(job.dataset.image_ids if share is None else share) - set(shard.finished)
    needed = batches_with(
        wanted,
        grouped(job.dataset.images, job.request.options.batch_size),
        job.request.options.batch_size,
    )
    require_same_images(job.dataset, shard.stamps)
    require_same_maps(job.dataset.panoptic, shard.map_stamps)
    stamps: dict[int, Line] = {}
    counting = Counting(job, wanted)
    stamped = _stamper(job)

    def before(record: ImageRecord) -> None:
        # Before the file is decoded: one that is replaced meanwhile counts as replaced later.
        stamps[record.image_id] = stamped(record)
        counting.prepare(record)

    sealed = _sealer(job, shard, wanted, counting, stamps)
    total = len(job.dataset.images)
    with (
        closing(prepared_batches(job, engine, needed, before=before)) as batches,
        progress.task("infer", total=total, done=total - len(wanted), unit="img") as advance,
    ):
        for answer in inferred(job, engine, batches, sealed):
            fresh = [one for one in answer if one is not None]
            for line in fresh:
                shard.append_sealed(line)
            advance(len(fresh))


def _stamper(job: Job) -> Callable[[ImageRecord], Line]:
    """Return what gives the stamps of an image and of its annotated map, as its line has them."""
    contents = job.request.data.verify_images
    of_map = map_stamps(job.dataset.panoptic, contents=contents)

    def stamped(record: ImageRecord) -> Line:
        path = job.dataset.images_dir / record.file_name
        line: Line = {STAMP: stamp_of(path, contents=contents)}
        if job.dataset.panoptic is not None:
            line[MAP_STAMP] = of_map(record.image_id)
        return line

    return stamped


def _sealer(
    job: Job,
    shard: Shard,
    wanted: Collection[int],
    counting: Counting,
    stamps: Mapping[int, Line],
) -> Callable[[Detections], SealedLine | None]:
    """Return what makes the line of an image, in any thread; None of one that is not wanted.

    Args:
        job: The evaluation.
        shard: The line is for it.
        wanted: Ids of images.
        counting: Counts of the classes of pixels.
        stamps: By image id, the state of the image's files.
    """

    def sealed(detections: Detections) -> SealedLine | None:
        number = detections.image_id
        if number not in wanted:
            return None
        more = {**counting.counts_of(detections), **stamps[number]}
        text = text_of(detections, job.dataset.categories, job.stuff, more)
        return shard.sealed_text(number, text)

    return sealed


def grouped(records: Sequence[ImageRecord], batch_size: int) -> list[ImageRecord]:
    """Return the records in an order that makes batches of similarly shaped images, which pad
    least.
    """
    if batch_size == 1:
        return list(records)
    return sorted(records, key=lambda one: (one.width_px / one.height_px, one.image_id))


def batches_with(
    wanted: Collection[int], records: Sequence[ImageRecord], size: int
) -> list[ImageRecord]:
    """Return every batch of ``records`` that has a wanted image, whole.

    Images of a batch are padded to a common size, which changes their numbers. So that these do not
    depend on which worker infers what, or on where a run broke, a batch always has the same images.

    Args:
        wanted: Ids of images.
        records: All images, in the order of their batches.
        size: Images a batch.
    """
    batches = (records[start : start + size] for start in range(0, len(records), size))
    return [
        record
        for batch in batches
        if any(one.image_id in wanted for one in batch)
        for record in batch
    ]


def identity_of(job: Job, engine: Engine) -> dict[str, Any]:
    """Return what must be equal for two runs to share a shard: everything that can change a number.

    It does not say which of several equal GPUs computes, and the number of threads only on a CPU.
    """
    return {**asked_identity(job), **engine_identity(engine.info)}


def engine_identity(info: EngineInfo) -> dict[str, Any]:
    """Return the part of the identity that an engine knows."""
    return {
        "engine": info.name,
        "engine_version": info.version,
        "device_class": info.device_class,
        "precision": info.precision,
        "memory_format": info.memory_format,
        "compiled": info.compiled,
        "exact": info.exact,
        "threads": info.threads if info.device == "cpu" else None,
        **{f"architecture.{name}": one for name, one in to_plain(info.architecture).items()},
    }


def asked_identity(job: Job) -> dict[str, Any]:
    """Return the part of the identity that is known before an engine is open."""
    ids = ",".join(str(image) for image in job.dataset.image_ids)
    panoptic = job.dataset.panoptic
    return {
        "harness": __version__,
        "model": job.entry.name,
        "checkpoint_sha256": None if job.checkpoint is None else job.checkpoint.sha256,
        "dataset_sha256": job.dataset.digest,
        **({} if job.proposals is None else {"proposals_sha256": job.proposals.sha256}),
        "images": len(job.dataset.images),
        "images_sha256": hashlib.sha256(ids.encode()).hexdigest(),
        **({} if panoptic is None else {"panoptic_sha256": panoptic.digest}),
        "batch_size": job.request.options.batch_size,
    }


def prepared_batches(
    job: Job,
    engine: Engine,
    records: Sequence[ImageRecord],
    *,
    before: Callable[[ImageRecord], None] | None = None,
) -> Generator[tuple[list[ImageRecord], list[Any]], None, None]:
    """Yield batches of records with what the engine prepared of them, in order.

    Args:
        job: The images and how they are loaded.
        engine: Prepares them, in the threads that load.
        records: What to load.
        before: Called for each, in its thread, before its file is opened.

    Raises:
        RunFailedError: The engine could not prepare an image.
        IntegrityError: An image is missing or cannot be decoded.
    """

    def prepare(record: ImageRecord) -> Any:
        if before is not None:
            before(record)
        return engine.prepare(job.image_of(record), NULL_STOPWATCH)

    with closing(
        ahead(
            records,
            prepare,
            size=job.request.options.batch_size,
            loaders=loader_count(job.request.options),
        )
    ) as batches:
        for batch in batches:
            yield [record for record, _ in batch], [_prepared(*one) for one in batch]


def ahead(
    items: Iterable[Item], work: Callable[[Item], Result], *, size: int, loaders: int
) -> Generator[list[tuple[Item, Future[Result]]], None, None]:
    """Yield batches of items with their results from threads, in order.

    The threads are a few batches ahead of the caller, and no more: memory is bounded.

    Args:
        items: Read lazily.
        work: Called for each item, in a thread.
        size: Items a batch; the last may have fewer.
        loaders: Number of threads.
    """
    window = size * (1 + BATCHES_AHEAD * loaders)
    with ThreadPoolExecutor(loaders, thread_name_prefix="loader") as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        coming = iter(items)
        try:
            while True:
                for item in islice(coming, window - len(waiting)):
                    waiting.append((item, pool.submit(work, item)))
                if not waiting:
                    return
                yield [waiting.popleft() for _ in range(min(size, len(waiting)))]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prepared(record: ImageRecord, future: Future[Any]) -> Any:
    return _named("loading", [record], future.result)


def inferred(
    job: Job,
    engine: Engine,
    batches: Iterable[tuple[list[ImageRecord], list[Any]]],
    convert: Callable[[Detections], Result],
) -> Iterator[list[Result]]:
    """Yield what becomes of the detections of each batch, in order.

    An engine that runs ahead computes the next batches while threads finish, that is encode and
    convert, those before. When one fails, those before it are still returned.

    Args:
        job: The evaluation.
        engine: Open and ready.
        batches: Records with their prepared images.
        convert: Called for the detections of each image, perhaps in such a thread.

    Raises:
        RunFailedError: The engine failed; it names the images of the batch.
    """
    if not (isinstance(engine, EngineAhead) and engine.runs_ahead):
        for records, prepared in batches:
            yield [convert(one) for one in infer_batch(job, engine, records, prepared)]
        return

    def finish(records: Sequence[ImageRecord], pending: Any) -> list[Result]:
        answer = _named("inference", records, partial(engine.finish, pending))
        _require_answer(job, records, answer)
        return [convert(one) for one in answer]

    coming, failure = iter(batches), None
    under_way: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(FINISHERS, thread_name_prefix="finisher") as pool:
        while failure is None:
            try:
                records, prepared = next(coming)
                pending = _named("inference", records, partial(engine.begin, prepared))
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            under_way.append(pool.submit(finish, records, pending))
            if len(under_way) > FINISHERS:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    if failure is not None:
        raise failure


def _named(stage: str, records: Sequence[ImageRecord], work: Callable[[], Result]) -> Result:
    """Return the result of ``work``.

    Raises:
        HarnessError: It raised one.
        RunFailedError: It raised anything else; the error names the images.
    """
    try:
        return work()
    except HarnessError:
        raise
    except Exception as error:
        raise _failed(stage, records, error) from error


def infer_batch(
    job: Job, engine: Engine, records: Sequence[ImageRecord], prepared: Sequence[Any]
) -> list[Detections]:
    """Return the detections of one batch, one an image.

    Args:
        job: The evaluation.
        engine: Open and ready.
        records: The images.
        prepared: What the engine prepared of each.

    Raises:
        RunFailedError: The engine failed; it names the images.
    """
    answer = _named("inference", records, partial(engine.infer, prepared, NULL_STOPWATCH))
    _require_answer(job, records, answer)
    return answer


def _require_answer(job: Job, records: Sequence[ImageRecord], answer: Sequence[Detections]) -> None:
    """Check that detections belong to the images asked for; otherwise they would become a low AP.

    Raises:
        RunFailedError: Other images, other classes, or masks or keypoints where there should be
            none or none where there should be.
    """
    asked, given = [one.image_id for one in records], [one.image_id for one in answer]
    if asked != given:
        raise RunFailedError(f"the engine was asked for images {asked}, it returned {given}")
    for one in answer:
        classes = one.class_index
        if len(classes) and not 0 <= classes.min() <= classes.max() < job.architecture.class_count:
            raise RunFailedError(
                f"image {one.image_id}: classes {classes.min()}…{classes.max()} are not all in "
                f"0…{job.architecture.class_count - 1}"
            )
        for what, answered, expected in (
            ("masks", one.masks is not None, job.architecture.has_masks),
            ("keypoints", one.keypoints is not None, job.architecture.keypoint_count > 0),
            ("a map of segments", one.panoptic is not None, job.architecture.is_panoptic),
        ):
            if answered != expected:
                found = what if answered else f"no {what.removeprefix('a ')}"
                raise RunFailedError(f"image {one.image_id}: {job.entry.name} returned {found}")


def _failed(stage: str, records: Sequence[ImageRecord], error: Exception) -> RunFailedError:
    names = ", ".join(f"{record.image_id} ({record.file_name})" for record in records)
    # Of memory, of a GPU: what their errors say further on is for programmers.
    failure = failure_of(error, then="then continue")
    said = reason_of(error) if failure is None else reason_of(error).partition("\n")[0]
    hint = None if failure is None else failure.hint
    return RunFailedError(f"{stage} failed at image {names}: {said}", hint=hint)
