"""What a training learns from, and what it is evaluated on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from typing import Any

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import Lock, ModelEntry, TrainRecipe
from harness.core.record import CheckpointFacts
from harness.core.requests.training import TrainRequest
from harness.core.settings import check_settings, identity_of, replaced
from harness.data.catalog import VALIDATION_OF, find_dataset
from harness.data.objects import TrainingSet, training_set
from harness.data.proven import require_images, state_of_images
from harness.engines.opening import require_network
from harness.training.group import launched
from harness.training.log import read_curve
from harness.training.plan import (
    WEIGHT_DECAY,
    Plan,
    make_plan,
    published_schedule,
    weight_decay_of,
)
from harness.training.setup import InitKind
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import facts_of_file, find_checkpoint, pinned_file
from harness.zoo.lock import find_artefact, find_model, read_lock


def training_data(request: TrainRequest, recipe: TrainRecipe, *, compact: bool) -> Dataset:
    """Return the training data: the requested data set, or the one the recipe is published for.

    Args:
        request: What was asked for.
        recipe: The published settings.
        compact: Parse it as training alone needs it.

    Raises:
        UsageError: An unknown data set, or a file without its folder of images.
        PrerequisiteError: The data are not there.
        IntegrityError: The annotation file is not valid.
    """
    own = request.data.train_annotations is not None or request.data.train_images is not None
    return find_dataset(
        dataset=request.data.dataset or (None if own else recipe.dataset),
        annotations=request.data.train_annotations,
        images=request.data.train_images,
        root=request.network.root,
        options=("--train-annotations", "--train-images"),
        compact=compact,
    )


def validation_data(request: TrainRequest, entry: ModelEntry) -> Dataset:
    """Return the given pair; else what belongs to the training data, or the model's own.

    Args:
        request: What was asked for.
        entry: The model, whose data set is the last resort.

    Raises:
        UsageError: The training data are the user's own, and no validation data are given.
        PrerequisiteError: The data are not there.
        IntegrityError: The annotation file is not valid.
    """
    own = request.data.val_annotations is not None or request.data.val_images is not None
    if not own and request.data.train_annotations is not None:
        raise UsageError(
            "data of your own need validation data as well",
            hint="give --val-annotations and --val-images; they may be the training pair",
        )
    return find_dataset(
        dataset=None if own else VALIDATION_OF.get(request.data.dataset or "", entry.dataset),
        annotations=request.data.val_annotations,
        images=request.data.val_images,
        root=request.network.root,
        options=("--val-annotations", "--val-images"),
    )


def require_same_categories(training: Dataset, validation: Dataset) -> None:
    """Check that both data sets list the same categories in the same order.

    Raises:
        IntegrityError: They do not.
    """
    if training.categories == validation.categories:
        return
    ours, theirs = set(training.categories), set(validation.categories)
    odd = sorted(ours ^ theirs, key=lambda one: one.category_id)
    shown = ", ".join(f"{one.category_id} {one.name}" for one in odd[:5]) or "their order"
    raise IntegrityError(
        f"training and validation data list other categories: {shown}\n"
        f"  {training.annotations_path}\n  {validation.annotations_path}",
        hint="both files must list the same ids and names, used or not",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """A resolved and verified training."""

    request: TrainRequest
    """What was asked for."""

    config: TrainRequest
    """The request with what the recipe decides filled in."""

    entry: ModelEntry
    """The model."""

    recipe: TrainRecipe
    """Its published training settings."""

    architecture: Architecture
    """The network, with as many classes as the training data has categories."""

    plan: Plan
    """The schedule, and how it departs from the published one."""

    training: TrainingSet
    """What is learned."""

    validation: Dataset
    """What it is evaluated on."""

    init_kind: InitKind
    """What ``init`` contains."""

    init: Path | None
    """File of the initial weights; None for random ones."""

    checkpoint: CheckpointFacts | None
    """Facts of that file; None for random weights."""

    reference: tuple[dict[str, Any], ...] = ()
    """Lines of the curve to compare with; none without one."""

    warnings: tuple[Signals, ...] = ()
    """Signals that may not be the end, so that they only ask for a checkpoint."""

    @property
    def deviations(self) -> tuple[str, ...]:
        """What makes the trained AP not comparable with the published one, one sentence each."""
        return tuple(self._deviations())

    def _deviations(self) -> Iterator[str]:
        if self.training.dataset.name != self.recipe.dataset:
            yield f"trained on {self.training.dataset.name}, published for {self.recipe.dataset}"
        share = self.plan.share_of_published
        if abs(share - 1) > 0.01:
            yield f"sees {share:.3g} of the images of the published schedule"
        wanted = "random" if self.recipe.backbone is None else "backbone"
        if self.init_kind != wanted:
            yield f"begins with {self.request.initial.init} weights, published from {wanted}"
        if self.request.optimizer.optimiser != "sgd":
            yield f"trained with {self.request.optimizer.optimiser}, published with sgd"
        elif (decay := weight_decay_of(self.request.optimizer)) != WEIGHT_DECAY:
            yield f"weight decay {decay:g}, published {WEIGHT_DECAY:g}"
        if (augment := self.request.augmentation.augment) != self.recipe.augmentation:
            yield f"augmented with {augment}, published with {self.recipe.augmentation}"
        if (edge := self.request.augmentation.short_edge_px) is not None:
            yield f"images have a short edge of {edge} px, not the published"
        rois = self.config.augmentation.rois_per_image
        if rois != self.recipe.rois_per_image:
            yield f"{rois} regions an image, published {self.recipe.rois_per_image}"

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal when a training continues: everything a weight depends on."""
        schedule = self.plan.schedule
        return {
            **identity_of(self.config),
            "dataset_sha256": self.training.dataset.digest,
            **state_of_images(self.training.dataset),
            "init_sha256": None if self.checkpoint is None else self.checkpoint.sha256,
            "steps": list(schedule.steps),
            "warmup": schedule.warmup,
        }


def resolve_training(request: TrainRequest) -> TrainingJob:
    """Return the job of a request; everything is checked before anything is computed.

    Raises:
        UsageError: An invalid argument.
        PrerequisiteError: Data, weights or a package are missing.
        IntegrityError: Data or weights are not what they claim to be, or there is nothing to learn.
    """
    check_settings(request)
    _check_engine(request)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    recipe = _recipe(entry)
    published = architecture_of(entry.architecture)
    require_network(request.runtime.engine, published)
    learned, validation = _data(request, entry, recipe)
    training = training_set(learned, with_masks=published.has_masks)
    del learned  # with its parsed file, which is the largest thing here
    if not training.images:
        raise IntegrityError(
            f"{training.dataset.annotations_path} has no object to learn from: "
            + ", ".join(training.left_out),
            hint="look at it with: harness data check",
        )
    require_images(training.dataset)
    require_same_categories(training.dataset, validation)
    require_images(validation)
    kind, init, checkpoint = _initial(lock, entry, recipe, request)
    plan = make_plan(
        published_schedule(recipe, request.schedule.schedule),
        request.schedule,
        request.optimizer.optimiser,
    )
    _check_division(request, plan.schedule.batch_size)
    architecture = _architecture(published, request, len(training.dataset.categories))
    config = _config(request, plan, kind, recipe, architecture)
    return TrainingJob(
        request=request,
        config=config,
        entry=entry,
        recipe=recipe,
        architecture=architecture,
        plan=plan,
        training=training,
        validation=validation,
        init_kind=kind,
        init=init,
        checkpoint=checkpoint,
        reference=() if request.reference_curve is None else read_curve(request.reference_curve),
    )


def plan_lines(job: TrainingJob) -> list[str]:
    """Return the plan and its data in sentences, as they are shown before a training."""
    schedule, published = job.plan.schedule, job.plan.published
    images = len(job.training.images)
    steps = ", ".join(f"{step:,}" for step in schedule.steps)
    return [
        f"{job.entry.name}: {schedule.iterations:,} iterations of {schedule.batch_size} images, "
        f"lr {schedule.learning_rate:g}, ×0.1 at {steps}, warm-up {schedule.warmup:,} "
        f"(published: {published.iterations:,} of {published.batch_size}, "
        f"lr {published.learning_rate:g})",
        f"{images:,} images with {sum(job.training.object_counts.values()):,} objects of "
        f"{len(job.training.object_counts)} categories, "
        f"{schedule.images_seen / images:.1f} epochs; a checkpoint every "
        f"{schedule.checkpoint_period:,} iterations",
        *(f"warning: {sentence}" for sentence in job.plan.warnings),
    ]


def _config(
    request: TrainRequest,
    plan: Plan,
    kind: InitKind,
    recipe: TrainRecipe,
    architecture: Architecture,
) -> TrainRequest:
    """Return the request with what recipe, plan and architecture decide filled in."""
    return replaced(
        request,
        iterations=plan.schedule.iterations,
        batch_size=plan.schedule.batch_size,
        learning_rate=plan.schedule.learning_rate,
        weight_decay=weight_decay_of(request.optimizer),
        freeze=_freeze(request, kind, recipe),
        rois_per_image=request.augmentation.rois_per_image or recipe.rois_per_image,
        short_edge_px=architecture.short_edge_px,
    )


def _data(request: TrainRequest, entry: ModelEntry, recipe: TrainRecipe) -> tuple[Dataset, Dataset]:
    """Return training and validation data, each file parsed once; they may be the same file."""
    asked = request.data
    own = (asked.train_annotations, asked.train_images)
    if None not in own and own == (asked.val_annotations, asked.val_images):
        both = training_data(request, recipe, compact=False)
        return both, both
    return training_data(request, recipe, compact=True), validation_data(request, entry)


def _architecture(published: Architecture, request: TrainRequest, class_count: int) -> Architecture:
    short = request.augmentation.short_edge_px or published.short_edge_px
    long = round(published.long_edge_max_px * short / published.short_edge_px)
    return replace(published, class_count=class_count, short_edge_px=short, long_edge_max_px=long)


def _check_engine(request: TrainRequest) -> None:
    if request.runtime.engine == "detectron2" and request.runtime.processes > 1:
        raise UsageError(
            "the detectron2 engine trains in one process here", hint="or use --engine native"
        )


def _check_division(request: TrainRequest, batch_size: int) -> None:
    world = launched()
    if world is not None and request.runtime.processes > 1:
        raise UsageError("a launcher has started the processes: leave out --gpus")
    processes = request.runtime.processes if world is None else world.size
    parts = processes * request.optimizer.accumulate
    if batch_size % parts:
        raise UsageError(
            f"a batch of {batch_size} cannot be divided into {parts} equal parts "
            f"({processes} processes × {request.optimizer.accumulate} accumulated)",
            hint=f"choose --batch-size {parts * -(-batch_size // parts)}, or other numbers",
        )


def _recipe(entry: ModelEntry) -> TrainRecipe:
    if entry.recipe is None:
        raise UsageError(f"{entry.name} has no training recipe", hint="see: harness models")
    return entry.recipe


def _initial(
    lock: Lock, entry: ModelEntry, recipe: TrainRecipe, request: TrainRequest
) -> tuple[InitKind, Path | None, CheckpointFacts | None]:
    match request.initial.init:
        case "none":
            return "random", None, None
        case "zoo":
            facts = find_checkpoint(lock, entry, None, request.network.root)
            return "model", Path(facts.path), facts
        case "imagenet" if recipe.backbone is None:
            return "random", None, None
        case "imagenet":
            facts = pinned_file(find_artefact(lock, str(recipe.backbone)), request.network.root)
            # "pinned" says of a record that a model's own weights were used.
            return "backbone", Path(facts.path), replace(facts, pinned=False)
        case name:
            path = Path(name)
            if not path.is_file():
                raise UsageError(
                    f"--init {name}: no such file", hint="or one of: zoo, imagenet, none"
                )
            return "model", path, facts_of_file(path)


def _freeze(request: TrainRequest, kind: InitKind, recipe: TrainRecipe) -> int:
    if request.initial.freeze is not None:
        return request.initial.freeze
    return 0 if kind == "random" else recipe.frozen_stages
