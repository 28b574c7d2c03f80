"""From a request to what will be done: model, weights, data, recipe, all proven."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.architecture import Architecture
from harness.core.dataset import Category, Dataset, ImageRecord
from harness.core.detections import Image
from harness.core.engine import EXPORT_FORMATS, Engine, EngineName
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import Lock, ModelEntry
from harness.core.printable import counted
from harness.core.record import CheckpointFacts, DatasetFacts
from harness.core.requests.inference import InferenceRequest
from harness.core.settings import check_settings, recorded
from harness.data.catalog import find_dataset, limited
from harness.data.categories import stuff_for
from harness.data.coco import KEYPOINTS_FROM
from harness.data.images import require_resizable
from harness.data.panoptic import how_to_give, require_pngs
from harness.data.run_dataset import (
    facts_of_dataset,
    proven_dataset,
    require_images,
)
from harness.engines.loading import open_file
from harness.engines.opening import (
    loader_count,
    own_engine,
    own_memory_format,
    require_network,
    require_settings,
)
from harness.files.json import to_plain
from harness.measure.verdict import Conditions, deviations
from harness.workflows.evaluation.proposals import (
    find_proposals,
    load_with_proposals,
    proposal_deviations,
    require_proposals_fit,
)
from harness.zoo.architectures import architecture_of
from harness.zoo.exported import ExportFacts
from harness.zoo.lock import find_model, read_lock
from harness.zoo.model_file import (
    CHANGED,
    ModelFile,
    StatedSizes,
    find_model_file,
    stated_sizes,
    with_recipe,
)
from harness.zoo.needed import (
    Missing,
    missing_checkpoint,
    missing_dataset,
    missing_files,
    missing_proposals,
    require_all,
)
from harness.zoo.proposals import ProposalFile

FAKED = "the fake engine returns the ground truth: no network was measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A resolved and proven request."""

    request: InferenceRequest
    """What was asked for."""

    entry: ModelEntry
    """The model."""

    published: Architecture
    """The model's own network and recipe."""

    architecture: Architecture
    """The same with the request's overrides, and the sizes that the weights state."""

    file: ModelFile | None
    """What the engine opens; None for an engine without weights."""

    stated: StatedSizes | None = None
    """Sizes of images that the weights state."""

    proposals: ProposalFile | None = None
    """Region proposals of the images, for a network that is given some."""

    dataset: Dataset
    """The images to run on."""

    image_count: int
    """Number of images of the whole data set."""

    stuff: tuple[Category, ...] = ()
    """Kinds of stuff, by class of a semantic head from 1: the data set's, or the model's."""

    @property
    def engine(self) -> EngineName:
        """The requested engine, or the model's own."""
        return self.request.options.engine or own_engine(self.published)

    @property
    def weights(self) -> Path | None:
        """The file that the engine opens; None for an engine without weights."""
        return None if self.file is None else self.file.path

    @property
    def checkpoint(self) -> CheckpointFacts | None:
        """Facts of the weights; None for an engine without weights."""
        return None if self.file is None else self.file.checkpoint

    @property
    def exported(self) -> ExportFacts | None:
        """What an exported file states about itself; None for other engines."""
        return None if self.file is None else self.file.exported

    @property
    def changed(self) -> bool:
        """Whether an exported file is another one than was exported."""
        return self.file is not None and self.file.changed

    @property
    def places(self) -> tuple[Path, ...]:
        """The files and folders that the job reads."""
        given = None if self.proposals is None else self.proposals.path
        return (*self.dataset.places, *(one for one in (self.weights, given) if one is not None))

    @property
    def deviations(self) -> tuple[str, ...]:
        """What makes the job's accuracy not comparable with published numbers, a sentence each."""
        return self.deviations_on(len(self.dataset.images))

    def deviations_on(self, evaluated_images: int) -> tuple[str, ...]:
        """Return the same for a number that depends on fewer images.

        Args:
            evaluated_images: How many images of the data set it depends on.
        """
        faked = self.engine == "fake"
        pinned = self.checkpoint is not None and self.checkpoint.pinned
        origin = self.exported is not None and self.exported.checkpoint_pinned
        conditions = Conditions(
            architecture=self.architecture,
            precision=self.request.options.precision,
            batch_size=self.request.options.batch_size,
            compiled=self.request.options.compile,
            pinned_weights=faked or pinned or origin,
            evaluated_images=evaluated_images,
            image_count=self.image_count,
        )
        found = deviations(conditions, self.published) + proposal_deviations(self.proposals)
        if faked:
            return (FAKED, *found)
        return (CHANGED, *found) if self.changed else found

    @property
    def dataset_facts(self) -> DatasetFacts:
        """The data set as the record keeps it."""
        return facts_of_dataset(self.dataset, self.image_count)

    def without_ground_truth(self) -> Job:
        """Return the job without the parsed boxes and masks, unless its engine returns those.

        This is what a worker process receives, and what a run keeps that does not score.
        """
        if self.engine == "fake":
            return self
        panoptic = self.dataset.panoptic  # by which classes of pixels are counted
        return replace(self, dataset=replace(self.dataset.without_content(), panoptic=panoptic))

    @property
    def resolved(self) -> dict[str, Any]:
        """The request with every default filled in, for the record."""
        return {
            **to_plain(recorded(self.request)),
            "dataset": self.dataset.name,
            "engine": self.engine,
            "memory_format": self.request.options.memory_format
            or own_memory_format(self.engine, self.request.options),
            "loaders": loader_count(self.request.options),
            "weights": None if self.weights is None else str(self.weights),
            "architecture": to_plain(self.architecture),
            **({} if self.stated is None else {"sizes_stated_by": str(self.stated.source)}),
            **({} if self.exported is None else {"exported": to_plain(self.exported)}),
            **self._resolved_proposals,
        }

    @property
    def _resolved_proposals(self) -> dict[str, Any]:
        if self.proposals is None:
            return {}
        file = self.proposals
        return {"proposals": str(file.path), "proposals_sha256": file.sha256}

    def image_of(self, record: ImageRecord) -> Image:
        """Return the decoded image of a record, with its region proposals if there are some.

        Raises:
            IntegrityError: It is missing or cannot be decoded.
        """
        return load_with_proposals(record, self.dataset.images_dir, self.proposals)


def resolve(request: InferenceRequest) -> Job:
    """Return the job of a request; every proof that needs no inference is made here.

    Raises:
        UsageError: An invalid argument, or an unknown model or data set.
        PrerequisiteError: Data or weights are missing, or this version lacks the network.
        IntegrityError: Data or weights are not what they claim to be, or do not belong together.
    """
    check_values(request)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    architecture_of(entry.architecture)  # nothing is asked for that this version cannot use
    named = request.data.dataset
    if named is None and request.data.annotations is None and request.data.images is None:
        named = entry.dataset
    require_all(_missing(lock, entry, request, named), request.network.root)
    dataset = find_dataset(
        dataset=named,
        annotations=request.data.annotations,
        images=request.data.images,
        root=request.network.root,
        panoptic=request.data.panoptic,
        panoptic_masks=request.data.panoptic_masks,
    )
    dataset = proven_dataset(lock, dataset, request.network.root)
    asked = dataset if request.data.limit is None else limited(dataset, request.data.limit)
    job = job_of(lock, entry, request, asked, len(dataset.images))
    require_images(asked)
    if job.engine != "fake":
        numbers = job.architecture
        require_resizable(asked, numbers.short_edge_px, numbers.long_edge_max_px)
    if asked.panoptic is not None:
        require_pngs(asked.panoptic, asked.image_ids)
    return job


def _missing(
    lock: Lock, entry: ModelEntry, request: InferenceRequest, dataset: str | None
) -> tuple[Missing, ...]:
    """Return which of data set, files of the user and pinned checkpoint are not on disk."""
    root, weights = request.network.root, request.network.weights
    data = request.data
    found = missing_dataset(dataset, root)
    found += missing_files(data.annotations, data.images, data.panoptic)
    if weights is None and request.options.engine not in ("fake", *EXPORT_FORMATS):
        found += missing_checkpoint(lock, entry, root)
    if request.data.proposals is None and request.options.engine != "fake":
        found += missing_proposals(lock, entry, root)
    return found


def resolve_on(request: InferenceRequest, dataset: Dataset) -> Job:
    """Return the job of a request on a data set that was proven before, all of its images.

    Raises:
        UsageError: An invalid argument, or an unknown model.
        PrerequisiteError: The weights are missing.
        IntegrityError: The weights are not what they claim to be, or do not belong to the data.
    """
    check_values(request)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    return job_of(lock, entry, request, dataset, len(dataset.images))


def job_of(
    lock: Lock, entry: ModelEntry, request: InferenceRequest, dataset: Dataset, image_count: int
) -> Job:
    """Return the job of running on the images of a data set.

    Args:
        lock: The lock of the zoo.
        entry: The model.
        request: What was asked for.
        dataset: The images to run on.
        image_count: Number of images before a limit was applied.

    Raises:
        PrerequisiteError: The weights are missing.
        IntegrityError: The data set has another number of categories than the model has classes.
    """
    stuff = _stuff(entry, request, dataset)
    published = _published(entry, request, dataset, stuff)
    _check_categories(entry, published, dataset)
    if request.options.engine is not None:
        require_network(request.options.engine, published)
    engine = request.options.engine or own_engine(published)
    require_proposals_fit(entry, published, request)
    file = proposals = None
    if published.given_proposals and (engine != "fake" or request.data.proposals is not None):
        proposals = find_proposals(lock, entry, request, dataset)
    own = request.network
    stated = stated_sizes(published, request.recipe, entry, engine=engine, network=own)
    architecture = with_recipe(published, request.recipe, stated)
    if engine != "fake":
        classes = dataset.categories
        file = find_model_file(
            lock, entry, architecture, classes, engine=engine, weights=own.weights, root=own.root
        )
    return Job(
        request=request,
        entry=entry,
        published=published,
        architecture=architecture,
        file=file,
        stated=stated,
        proposals=proposals,
        dataset=dataset,
        image_count=image_count,
        stuff=stuff,
    )


def require_job_settings(job: Job) -> None:
    """Check device and settings as opening the job's engine would.

    Raises:
        UsageError: The engine cannot compute this way.
        PrerequisiteError: The device, or a package of the engine, is missing.
    """
    require_settings(job.engine, job.request.options)


def open_job_engine(job: Job) -> Engine:
    """Return the engine of a job, ready for inference.

    Raises:
        HarnessError: As of ``open_file``.
    """
    return open_file(
        job.engine,
        job.file,
        architecture=job.architecture,
        dataset=job.dataset,
        options=job.request.options,
    )


def _stuff(entry: ModelEntry, request: InferenceRequest, dataset: Dataset) -> tuple[Category, ...]:
    """Return the kinds of stuff that the weights know, in their order; none of other networks."""
    published = architecture_of(entry.architecture)
    if dataset.panoptic is not None:
        return dataset.panoptic.stuff
    return stuff_for(
        published.semantic_classes, panoptic=request.data.panoptic, weights=request.network.weights
    )


def _published(
    entry: ModelEntry, request: InferenceRequest, dataset: Dataset, stuff: tuple[Category, ...]
) -> Architecture:
    """Return the model's architecture; the user's own weights have the classes of the data set."""
    published = architecture_of(entry.architecture)
    if request.network.weights is None or not dataset.categories:
        return published
    return published.fitted_to(dataset.categories, stuff)


def check_values(request: InferenceRequest) -> None:
    """Check the numbers and files of a request.

    Raises:
        UsageError: A number is out of range, or a file does not exist.
    """
    check_settings(request)
    if request.options.engine in EXPORT_FORMATS and request.options.batch_size != 1:
        raise UsageError(
            f"an exported file computes one image at a time, not {request.options.batch_size}",
            hint="leave out --batch-size; or --engine: the model itself takes batches",
        )
    if request.network.weights is not None and not request.network.weights.is_file():
        raise UsageError(f"no such checkpoint file: {request.network.weights}")


def _check_categories(entry: ModelEntry, architecture: Architecture, dataset: Dataset) -> None:
    _check_keypoints(entry, architecture, dataset)
    _check_panoptic(entry, architecture, dataset)
    if len(dataset.categories) != architecture.class_count:
        raise IntegrityError(
            f"{entry.name} knows {architecture.class_count} classes, "
            f"{dataset.annotations_path} lists "
            f"{counted(len(dataset.categories), 'category', 'categories')}",
            hint="classes and categories are matched by order; use the data set the model was "
            "trained for",
        )
    if not dataset.images:
        raise IntegrityError(f"{dataset.annotations_path} lists no image")


def _check_keypoints(entry: ModelEntry, architecture: Architecture, dataset: Dataset) -> None:
    """Check that what is measured is annotated; images without annotations are not measured."""
    if dataset.content is None or not architecture.keypoint_count:
        return
    if not dataset.keypoint_count:
        raise IntegrityError(
            f"{dataset.annotations_path} has no keypoints, and {entry.name} is measured by them",
            hint=KEYPOINTS_FROM,
        )
    if dataset.keypoint_count != architecture.keypoint_count:
        raise IntegrityError(
            f"{entry.name} finds {architecture.keypoint_count} keypoints an object, "
            f"{dataset.annotations_path} has {dataset.keypoint_count}",
            hint="keypoints are matched by order; use the data set the weights were trained on",
        )


def _check_panoptic(entry: ModelEntry, architecture: Architecture, dataset: Dataset) -> None:
    """Check that what is measured is annotated; images without annotations are not measured."""
    truth = dataset.panoptic
    if truth is not None and not architecture.is_panoptic:
        raise UsageError(
            f"{entry.name} makes no maps of segments, which {truth.annotations_path} has",
            hint="leave out --panoptic, or choose a model of: harness models panoptic",
        )
    if dataset.content is None or not architecture.is_panoptic:
        return
    if truth is None:
        raise IntegrityError(
            f"{dataset.annotations_path} has boxes and masks only, and {entry.name} is measured by "
            "panoptic annotations, too",
            hint=how_to_give("--panoptic"),
        )
    if len(truth.stuff) + 1 != architecture.semantic_classes:
        raise IntegrityError(
            f"{entry.name} knows {architecture.semantic_classes - 1} kinds of stuff, "
            f"{truth.annotations_path} lists {len(truth.stuff)}",
            hint="they are matched by order; use the data set the model was trained for",
        )
