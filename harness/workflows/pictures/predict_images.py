"""The images of ``harness predict``: what will be done, all proven, and how they are inferred.

Images are decoded ahead, inferred, and drawn behind in threads. A file that cannot be read becomes
a line of its own in the shard, so that it is reported at the end and not tried again by a run that
continues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.dataset import Dataset, ImageRecord
from harness.core.detections import Detections, Image
from harness.core.engine import Engine
from harness.core.errors import IntegrityError
from harness.core.progress import Advance
from harness.core.record import DatasetFacts
from harness.core.requests.inference import EMBEDDED_MODEL, InferenceRequest
from harness.core.requests.pictures import PredictRequest
from harness.core.settings import replaced
from harness.data.categories import categories_for
from harness.data.image_files import digest_of, find_images, folder_of_all, read_size
from harness.data.images import about, read_own_pixels
from harness.engines.loading import require_classes, require_own_images
from harness.engines.opening import loader_count
from harness.files.json import to_plain
from harness.measure.masks import areas_px, union_px
from harness.measure.timing import NULL_STOPWATCH
from harness.visualization.image_files import picture_names, write_picture
from harness.visualization.overlays import draw
from harness.workflows.evaluation.inference import (
    ahead,
    batches_with,
    grouped,
    identity_of,
    infer_batch,
)
from harness.workflows.evaluation.resolve import Job, check_values, job_of, require_job_settings
from harness.workflows.runs.checksums import Line
from harness.workflows.runs.folder import Run, announce
from harness.workflows.runs.line_text import line_of
from harness.workflows.runs.shards import Shard
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock

#: What a run's facts call images that no annotation file lists.
PHOTOS = "pictures"

#: What is said before the embedded model sees images of a user.
ONLY_SHAPES = (
    f"{EMBEDDED_MODEL}, the embedded model, knows only generated shapes (circle, square, …); "
    "--model R_50_FPN_3x, say, finds COCO's 80 categories"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictJob:
    """A request with everything resolved."""

    request: PredictRequest
    """The request."""

    job: Job
    """Model, weights and images."""

    pictures: dict[int, str]
    """Name of the drawing by image id."""

    @property
    def facts(self) -> DatasetFacts:
        """The images as ``run.json`` keeps them; there are no annotations."""
        dataset = self.job.dataset
        return DatasetFacts(
            name=dataset.name,
            annotations_path="",
            images_dir=str(dataset.images_dir),
            digest=dataset.digest,
            image_count=len(dataset.images),
            evaluated_images=len(dataset.images),
            warnings=(),
        )

    def identity(self, engine: Engine) -> dict[str, Any]:
        """What must be equal for a run to be continued: everything that changes what it leaves."""
        style = {f"style.{name}": value for name, value in to_plain(self.request.style).items()}
        return {**identity_of(self.job, engine), **style, "pictures": self.request.pictures}


def find_predict_job(
    request: PredictRequest, notice: Callable[[str], None] = lambda _: None
) -> PredictJob:
    """The job a request stands for; every proof that needs no inference happens here.

    Args:
        request: What was asked for.
        notice: Called with what the user should know of the images.
    """
    asked = request.inference
    require_own_images(asked.options.engine)
    check_values(asked)
    lock = read_lock()
    entry = find_model(lock, asked.network.model)
    published = architecture_of(entry.architecture)
    require_classes(published)
    paths = find_images(request.paths, outside=request.output, notice=notice)
    # The recipe must let through what is to be drawn.
    floor = min(published.score_threshold, request.style.threshold)
    if asked.recipe.score_threshold is None:
        asked = replaced(asked, score_threshold=floor)
    dataset = _dataset(paths, asked, entry.dataset)
    job = job_of(lock, entry, asked, dataset, len(paths))
    require_job_settings(job)
    pictures: dict[int, str] = {}
    if request.pictures != "none":
        names = picture_names([record.file_name for record in dataset.images], request.pictures)
        pictures = dict(zip(dataset.image_ids, names, strict=True))
    if entry.name == EMBEDDED_MODEL and asked.network.weights is None:
        notice(ONLY_SHAPES)
    return PredictJob(request=request, job=job, pictures=pictures)


def _dataset(paths: Sequence[Path], asked: InferenceRequest, named: str) -> Dataset:
    """Return the given files as the images of a data set without annotations.

    Their sizes are only known where batches need them.
    """
    folder = folder_of_all(paths)
    sizes = [(0, 0)] * len(paths)
    if asked.options.batch_size > 1:
        with ThreadPoolExecutor(loader_count(asked.options)) as pool:
            sizes = list(pool.map(read_size, paths))
    return Dataset(
        name=PHOTOS,
        annotations_path=asked.data.annotations or Path(named),
        images_dir=folder,
        images=tuple(
            ImageRecord(number, path.relative_to(folder).as_posix(), height, width)
            for number, (path, (height, width)) in enumerate(zip(paths, sizes, strict=True), 1)
        ),
        categories=categories_for(
            named, annotations=asked.data.annotations, weights=asked.network.weights
        ),
        annotation_count=0,
        crowd_count=0,
        has_masks=False,
        digest=digest_of(paths),
    )


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
        with about(record.file_name):
            return Loaded(image, engine.prepare(image, NULL_STOPWATCH), notes)

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
