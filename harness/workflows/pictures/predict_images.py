"""Pictures through an engine and onto paper: decoded ahead, inferred, drawn behind in threads.

A file that cannot be read becomes a line of its own in the shard, so that it is reported at the end
and not tried again by a run that continues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from harness.core.dataset import ImageRecord
from harness.core.detections import Detections, Image
from harness.core.engine import Engine
from harness.core.errors import IntegrityError
from harness.core.progress import Advance
from harness.data.images import read_own_pixels
from harness.engines.opening import loader_count
from harness.measure.rle import areas_px, union_px
from harness.measure.timing import NULL_STOPWATCH
from harness.visualization.image_files import write_picture
from harness.visualization.overlays import draw
from harness.workflows.evaluation.inference import ahead, batches_with, grouped, infer_batch
from harness.workflows.pictures.predict_job import PredictJob
from harness.workflows.runs.folder import Run, announce
from harness.workflows.runs.sealed_lines import Line
from harness.workflows.runs.shards import Shard, line_of

#: Below a run's folder.
PICTURES, SMALL = "pictures", "small"

#: Drawings each thread may be behind the network; bounds memory.
DRAWINGS_BEHIND = 4


class Loaded(NamedTuple):
    """A decoded image, what the engine prepared of it, what an evaluation sees otherwise."""

    image: Image
    prepared: Any
    notes: tuple[str, ...]


def predict_missing(job: PredictJob, engine: Engine, shard: Shard, run: Run) -> None:
    """Draw and append every picture that the shard does not have yet."""
    asked = job.job.request
    records = job.job.dataset.images
    wanted = {record.image_id for record in records} - set(shard.finished)
    needed = batches_with(
        wanted, grouped(records, asked.options.batch_size), asked.options.batch_size
    )

    def load(record: ImageRecord) -> Loaded:
        path = job.job.dataset.images_dir / record.file_name
        pixels, notes = read_own_pixels(path, where=record.file_name)
        image = Image(image_id=record.image_id, pixels_bgr=pixels)
        try:
            return Loaded(image, engine.prepare(image, NULL_STOPWATCH), notes)
        except ValueError as error:  # so narrow that nothing of it would be left
            raise IntegrityError(f"{record.file_name}: {error}") from error

    done = len(records) - len(wanted)
    with (
        closing(
            ahead(needed, load, size=asked.options.batch_size, loaders=loader_count(asked.options))
        ) as batches,
        ThreadPoolExecutor(loader_count(asked.options), thread_name_prefix="drawer") as pool,
        run.progress.task("predict", total=len(records), done=done, unit="img") as advance,
    ):
        drawer = _Drawer(job, run, shard, pool, advance)
        try:
            for batch in batches:
                loaded = _loaded(batch, wanted, shard, run, advance)
                if not loaded:
                    continue
                records, ready = zip(*loaded, strict=True)
                inferred = infer_batch(job.job, engine, records, [one.prepared for one in ready])
                for one, detections in zip(ready, inferred, strict=True):
                    if one.image.image_id in wanted:
                        drawer.take(one.image, detections, one.notes)
        finally:  # what was inferred before a crash is not lost
            drawer.finish()


def _loaded(
    batch: Sequence[tuple[ImageRecord, Future[Loaded]]],
    wanted: Collection[int],
    shard: Shard,
    run: Run,
    advance: Advance,
) -> list[tuple[ImageRecord, Loaded]]:
    """What could be read of a batch; the rest is reported, and counts as finished."""
    loaded = []
    for record, future in batch:
        try:
            loaded.append((record, future.result()))
        except IntegrityError as error:
            if record.image_id in wanted:
                line = {"image_id": record.image_id, "predictions": [], "error": error.message}
                shard.append(line)
                announce(run, f"skipped: {error.message}")
                advance(1)
    return loaded


class _Drawer:
    """Draws in threads and appends to the shard in the order of inference."""

    def __init__(
        self, job: PredictJob, run: Run, shard: Shard, pool: ThreadPoolExecutor, advance: Advance
    ) -> None:
        self._job, self._run, self._shard, self._pool = job, run, shard, pool
        self._advance = advance
        self._waiting: deque[Future[Line]] = deque()

    def take(self, image: Image, detections: Detections, notes: tuple[str, ...]) -> None:
        drawing = self._pool.submit(_drawn, self._job, self._run, image, detections, notes)
        self._waiting.append(drawing)
        limit = DRAWINGS_BEHIND * loader_count(self._job.job.request.options)
        while self._waiting and (len(self._waiting) > limit or self._waiting[0].done()):
            self._append()

    def finish(self) -> None:
        while self._waiting:
            self._append()

    def _append(self) -> None:
        self._shard.append(self._waiting.popleft().result())
        self._advance(1)


def _drawn(
    job: PredictJob, run: Run, image: Image, detections: Detections, notes: tuple[str, ...]
) -> Line:
    """One finished picture: its drawing is on disk when its line is returned."""
    kept = detections.above(job.request.style.threshold).with_stuff(job.job.stuff)
    line = line_of(kept, job.job.dataset.categories, job.job.stuff)
    masks = kept.masks
    sides = kept.boxes_xyxy_px[:, 2:] - kept.boxes_xyxy_px[:, :2]
    areas = sides.prod(axis=1).tolist() if masks is None else areas_px(masks)
    for row, area in zip(line["predictions"], areas, strict=True):
        row["area"] = area
    pixels = image.height_px * image.width_px
    name, small = job.pictures.get(image.image_id), None
    if name is not None:
        categories = job.job.dataset.categories
        names = [category.name for category in categories]
        picture = draw(image.pixels_bgr, kept, names, job.request.style, categories)
        small = f"{SMALL}/{image.image_id:06d}.jpg"
        write_picture(run.folder / PICTURES / name, picture, small=run.folder / small)
    return {
        **line,
        "height": image.height_px,
        "width": image.width_px,
        "masked_share": None if masks is None else union_px(masks) / pixels,
        "picture": None if name is None else f"{PICTURES}/{name}",
        "small": small,
        **({"notes": list(notes)} if notes else {}),
    }
