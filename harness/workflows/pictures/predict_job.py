"""What ``harness predict`` will do: which images, with which network, drawn how; all proven."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.dataset import Dataset, ImageRecord
from harness.core.engine import Engine
from harness.core.errors import UsageError
from harness.core.record import DatasetFacts
from harness.core.requests.inference import InferenceRequest
from harness.core.requests.pictures import PredictRequest
from harness.core.settings import replaced
from harness.data.categories import categories_for
from harness.data.image_files import digest_of, find_images, folder_of_all, read_size
from harness.engines.loading import require_classes
from harness.engines.opening import loader_count
from harness.files.json import to_plain
from harness.visualization.image_files import picture_names
from harness.workflows.evaluation.inference import identity_of
from harness.workflows.evaluation.resolve import Job, check_values, job_of, require_job_settings
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock

#: What a run's facts call images that no annotation file lists.
PHOTOS = "pictures"


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


def find_predict_job(request: PredictRequest) -> PredictJob:
    """The job a request stands for; every proof that needs no inference happens here."""
    asked = request.inference
    if asked.options.engine == "fake":
        raise UsageError("the fake engine answers from ground truth, and pictures have none")
    check_values(asked)
    lock = read_lock()
    entry = find_model(lock, asked.network.model)
    published = architecture_of(entry.architecture)
    require_classes(published)
    paths = find_images(request.paths, outside=request.output)
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
