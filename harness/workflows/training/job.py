"""What a training learns, and what it is evaluated on."""

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
from harness.data.catalog import VALIDATION_OF, find_dataset
from harness.data.objects import TrainingSet, training_set
from harness.data.proven import require_images
from harness.engines.opening import require_network
from harness.training.group import launched
from harness.training.log import read_curve
from harness.training.plan import (
    ADAMW_WEIGHT_DECAY,
    WEIGHT_DECAY,
    Plan,
    make_plan,
    published_schedule,
)
from harness.training.setup import InitKind
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import facts_of, facts_of_file, find_checkpoint, pinned_file
from harness.zoo.lock import find_artefact, find_model, read_lock


def training_data(request: TrainRequest, recipe: TrainRecipe) -> Dataset:
    """What is learned: what was asked for, or what the recipe is published for."""
    own = request.train_annotations is not None or request.train_images is not None
    return find_dataset(
        dataset=request.dataset or (None if own else recipe.dataset),
        annotations=request.train_annotations,
        images=request.train_images,
        root=request.root,
        options=("--train-annotations", "--train-images"),
    )


def validation_data(request: TrainRequest, entry: ModelEntry) -> Dataset:
    """The given pair; else what belongs to the training data, or the model's own.

    Training data of the user's own have no other.
    """
    own = request.val_annotations is not None or request.val_images is not None
    if not own and request.train_annotations is not None:
        raise UsageError(
            "data of your own need validation data as well",
            hint="give --val-annotations and --val-images; they may be the training pair",
        )
    return find_dataset(
        dataset=None if own else VALIDATION_OF.get(request.dataset or "", entry.dataset),
        annotations=request.val_annotations,
        images=request.val_images,
        root=request.root,
        options=("--val-annotations", "--val-images"),
    )


def require_same_categories(training: Dataset, validation: Dataset) -> None:
    """Raise IntegrityError unless both list the same categories in the same order."""
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
    """A request with every question answered.

    architecture: with as many classes as the training data has categories. init_kind: what
    ``init`` holds, a file of weights or None for random ones. reference: lines of the
    curve to compare with. warnings: signals that may not be the end, so that they only ask for a
    checkpoint.
    """

    request: TrainRequest
    entry: ModelEntry
    recipe: TrainRecipe
    architecture: Architecture
    plan: Plan
    training: TrainingSet
    validation: Dataset
    init_kind: InitKind
    init: Path | None
    checkpoint: CheckpointFacts | None
    freeze: int
    rois_per_image: int
    reference: tuple[dict[str, Any], ...] = ()
    warnings: tuple[Signals, ...] = ()

    @property
    def weight_decay(self) -> float:
        """As asked, or the optimiser's own."""
        if self.request.weight_decay is not None:
            return self.request.weight_decay
        return WEIGHT_DECAY if self.request.optimiser == "sgd" else ADAMW_WEIGHT_DECAY

    @property
    def deviations(self) -> tuple[str, ...]:
        """What makes the trained AP not comparable with the published one."""
        return tuple(self._deviations())

    def _deviations(self) -> Iterator[str]:
        if self.training.dataset.name != self.recipe.dataset:
            yield f"trained on {self.training.dataset.name}, published for {self.recipe.dataset}"
        share = self.plan.share_of_published
        if abs(share - 1) > 0.01:
            yield f"sees {share:.3g} of the images of the published schedule"
        wanted = "random" if self.recipe.backbone is None else "backbone"
        if self.init_kind != wanted:
            yield f"begins with {self.request.init} weights, published from {wanted}"
        if self.request.optimiser != "sgd":
            yield f"trained with {self.request.optimiser}, published with sgd"
        elif self.weight_decay != WEIGHT_DECAY:
            yield f"weight decay {self.weight_decay:g}, published {WEIGHT_DECAY:g}"
        if self.request.augment != "flip":
            yield f"augmented with {self.request.augment}, published with flip"
        if self.request.short_edge_px is not None:
            yield f"images have a short edge of {self.request.short_edge_px} px, not the published"
        if self.rois_per_image != self.recipe.rois_per_image:
            yield f"{self.rois_per_image} regions an image, published {self.recipe.rois_per_image}"

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal when a training continues; everything a weight depends on."""
        schedule = self.plan.schedule
        return {
            "model": self.entry.name,
            "engine": self.request.engine,
            "dataset_sha256": self.training.dataset.digest,
            "init_sha256": None if self.checkpoint is None else self.checkpoint.sha256,
            "iterations": schedule.iterations,
            "batch_size": schedule.batch_size,
            "learning_rate": schedule.learning_rate,
            "steps": list(schedule.steps),
            "warmup": schedule.warmup,
            "freeze": self.freeze,
            "rois_per_image": self.rois_per_image,
            "seed": self.request.seed,
            "precision": self.request.precision,
            "accumulate": self.request.accumulate,
            "optimiser": self.request.optimiser,
            "weight_decay": self.weight_decay,
            "augment": self.request.augment,
            "short_edge_px": self.architecture.short_edge_px,
            "best_by": self.request.best_by,
            "clip_gradients": self.request.clip_gradients,
            "ema": self.request.ema,
        }


def resolve_training(request: TrainRequest) -> TrainingJob:
    """The job a request stands for; raises before anything is computed."""
    _check_values(request)
    _check_engine(request)
    lock = read_lock()
    entry = find_model(lock, request.model)
    recipe = _recipe(entry)
    published = architecture_of(entry.architecture)
    require_network(request.engine, published)
    training = training_set(training_data(request, recipe), with_masks=published.has_masks)
    if not training.images:
        raise IntegrityError(
            f"{training.dataset.annotations_path} has no object to learn from: "
            + ", ".join(training.left_out),
            hint="look at it with: harness data check",
        )
    require_images(training.dataset)
    validation = validation_data(request, entry)
    require_same_categories(training.dataset, validation)
    require_images(validation)
    kind, init, checkpoint = _initial(lock, entry, recipe, request)
    plan = make_plan(
        published_schedule(recipe, request.schedule),
        batch_size=request.batch_size,
        iterations=request.iterations,
        learning_rate=request.learning_rate,
        optimiser=request.optimiser,
    )
    _check_division(request, plan.schedule.batch_size)
    return TrainingJob(
        request=request,
        entry=entry,
        recipe=recipe,
        architecture=_architecture(published, request, len(training.dataset.categories)),
        plan=plan,
        training=training,
        validation=validation,
        init_kind=kind,
        init=init,
        checkpoint=checkpoint,
        freeze=_freeze(request, kind, recipe),
        rois_per_image=request.rois_per_image or recipe.rois_per_image,
        reference=() if request.reference_curve is None else read_curve(request.reference_curve),
    )


def _check_values(request: TrainRequest) -> None:
    lowest = {"loaders": 1, "threads": 1, "processes": 1, "accumulate": 1, "eval_every": 0}
    lowest |= {"rois_per_image": 1, "freeze": 0, "seed": 0, "short_edge_px": 32}
    for name, least in lowest.items():
        value = getattr(request, name)
        if value is not None and value < least:
            option = "--" + name.removesuffix("_px").replace("_", "-")
            raise UsageError(f"{option} must be at least {least}, got {value}")
    if request.freeze is not None and request.freeze > 5:
        raise UsageError(f"--freeze must be at most 5 (stem, res2 … res5), got {request.freeze}")
    if request.ema is not None and not 0 < request.ema < 1:
        raise UsageError(f"--ema must be above 0 and below 1, got {request.ema}")
    if request.weight_decay is not None and not 0 <= request.weight_decay < 1:
        raise UsageError(
            f"--weight-decay must be at least 0 and below 1, got {request.weight_decay}"
        )
    if request.clip_gradients is not None and not request.clip_gradients > 0:
        raise UsageError(f"--clip-gradients must be above 0, got {request.clip_gradients}")


def _architecture(published: Architecture, request: TrainRequest, class_count: int) -> Architecture:
    short = request.short_edge_px or published.short_edge_px
    long = round(published.long_edge_max_px * short / published.short_edge_px)
    return replace(published, class_count=class_count, short_edge_px=short, long_edge_max_px=long)


def _check_engine(request: TrainRequest) -> None:
    if request.engine == "detectron2" and request.processes > 1:
        raise UsageError(
            "the detectron2 engine trains in one process here", hint="or use --engine native"
        )


def _check_division(request: TrainRequest, batch_size: int) -> None:
    world = launched()
    if world is not None and request.processes > 1:
        raise UsageError("a launcher has started the processes: leave out --gpus")
    processes = request.processes if world is None else world.size
    parts = processes * request.accumulate
    if batch_size % parts:
        raise UsageError(
            f"a batch of {batch_size} cannot be divided into {parts} equal parts "
            f"({processes} processes × {request.accumulate} accumulated)",
            hint=f"choose --batch-size {parts * -(-batch_size // parts)}, or other numbers",
        )


def _recipe(entry: ModelEntry) -> TrainRecipe:
    if entry.recipe is None:
        raise UsageError(f"{entry.name} has no training recipe", hint="see: harness models")
    return entry.recipe


def _initial(
    lock: Lock, entry: ModelEntry, recipe: TrainRecipe, request: TrainRequest
) -> tuple[InitKind, Path | None, CheckpointFacts | None]:
    match request.init:
        case "none":
            return "random", None, None
        case "zoo":
            path = find_checkpoint(lock, entry, None, request.root)
            return "model", path, facts_of(lock, entry, path)
        case "imagenet" if recipe.backbone is None:
            return "random", None, None
        case "imagenet":
            path = pinned_file(find_artefact(lock, str(recipe.backbone)), request.root)
            return "backbone", path, facts_of_file(path)
        case name:
            path = Path(name)
            if not path.is_file():
                raise UsageError(
                    f"--init {name}: no such file", hint="or one of: zoo, imagenet, none"
                )
            return "model", path, facts_of_file(path)


def _freeze(request: TrainRequest, kind: InitKind, recipe: TrainRecipe) -> int:
    if request.freeze is not None:
        return request.freeze
    return 0 if kind == "random" else recipe.frozen_stages
