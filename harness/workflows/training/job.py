"""What a training learns from, and what it is evaluated on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from typing import Any

from harness.core.architecture import Architecture
from harness.core.dataset import Category, Dataset
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
    evaluation_period,
    make_plan,
    published_schedule,
    weight_decay_of,
)
from harness.training.setup import InitKind
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import facts_of_file, find_checkpoint, pinned_file
from harness.zoo.lock import find_artefact, find_model, read_lock
from harness.zoo.needed import (
    Missing,
    missing_backbone,
    missing_checkpoint,
    missing_dataset,
    missing_files,
    require_all,
)


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
    return find_dataset(
        dataset=request.data.dataset or (None if has_own_data(request) else recipe.dataset),
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

    test: Dataset | None = None
    """What the best weights are evaluated on in the end; None without ``--test-annotations``."""

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
    def is_retraining(self) -> bool:
        """Whether the model's own data are learned, so that its published numbers matter."""
        return self.training.dataset.name == self.recipe.dataset

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
        if self.architecture.torchvision is not None:
            wanted = "backbone"  # of torchvision's own, which is not pinned here
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
    recipe = recipe_of(entry)
    published = architecture_of(entry.architecture)
    require_trainable(request, published)
    require_all(missing_parts(lock, entry, recipe, request), request.network.root)
    learned, validation = _data(request, entry, recipe)
    training = _learnable(learned, published)
    del learned  # with its parsed file, which is the largest thing here
    require_images(training.dataset)
    require_same_categories(training.dataset, validation)
    require_images(validation)
    test = _test_data(request, training.dataset)
    kind, init, checkpoint = _initial(lock, entry, recipe, request)
    plan = planned(request, recipe, training)
    check_division(request, plan.schedule.batch_size)
    architecture = trained_architecture(published, request, training.dataset.categories)
    config = config_of(request, plan, kind, recipe, architecture)
    return TrainingJob(
        request=request,
        config=config,
        entry=entry,
        recipe=recipe,
        architecture=architecture,
        plan=plan,
        training=training,
        validation=validation,
        test=test,
        init_kind=kind,
        init=init,
        checkpoint=checkpoint,
        reference=() if request.reference_curve is None else read_curve(request.reference_curve),
    )


def _learnable(learned: Dataset, published: Architecture) -> TrainingSet:
    """Return what can be learned from.

    Raises:
        IntegrityError: There is nothing.
    """
    found = training_set(
        learned, with_masks=published.has_masks, with_keypoints=published.keypoint_count > 0
    )
    if not found.images:
        raise IntegrityError(
            f"{learned.annotations_path} has no object to learn from: " + ", ".join(found.left_out),
            hint="look at it with: harness data check",
        )
    return found


def planned(request: TrainRequest, recipe: TrainRecipe, training: TrainingSet | None) -> Plan:
    """Return the plan of a request.

    Args:
        request: What was asked for.
        recipe: The published settings.
        training: What is learned; None where it is not there.

    Raises:
        UsageError: A setting is invalid, or epochs are counted without the training data.
    """
    own = has_own_data(request) or request.data.dataset not in (None, recipe.dataset)
    return make_plan(
        published_schedule(recipe, request.schedule.schedule),
        request.schedule,
        request.optimizer.optimiser,
        image_count=None if training is None else len(training.images),
        own_data=own,
    )


def has_own_data(request: TrainRequest) -> bool:
    """Return whether files of the user are learned."""
    return request.data.train_annotations is not None or request.data.train_images is not None


def _test_data(request: TrainRequest, training: Dataset) -> Dataset | None:
    """Return the test data of a request; None where there are none.

    Raises:
        UsageError: Half of the pair is missing.
        IntegrityError: The file is not valid, or lists other categories.
    """
    asked = request.data
    if asked.test_annotations is None and asked.test_images is None:
        return None
    found = find_dataset(
        dataset=None,
        annotations=asked.test_annotations,
        images=asked.test_images,
        root=request.network.root,
        options=("--test-annotations", "--test-images"),
    )
    require_same_categories(training, found)
    require_images(found)
    return found


def config_of(
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
        eval_every=_eval_every(request, plan.schedule.iterations),
    )


def _eval_every(request: TrainRequest, iterations: int) -> int:
    """Return the iterations between evaluations; Detectron2's trainer evaluates in the end only."""
    if request.eval_every is not None:
        return request.eval_every
    return 0 if request.runtime.engine == "detectron2" else evaluation_period(iterations)


def _data(request: TrainRequest, entry: ModelEntry, recipe: TrainRecipe) -> tuple[Dataset, Dataset]:
    """Return training and validation data, each file parsed once; they may be the same file."""
    asked = request.data
    own = (asked.train_annotations, asked.train_images)
    if None not in own and own == (asked.val_annotations, asked.val_images):
        both = training_data(request, recipe, compact=False)
        return both, both
    return training_data(request, recipe, compact=True), validation_data(request, entry)


def trained_architecture(
    published: Architecture, request: TrainRequest, categories: Sequence[Category]
) -> Architecture:
    """Return the network of a training: with its classes, keypoints and size of images."""
    short = request.augmentation.short_edge_px or published.short_edge_px
    long = round(published.long_edge_max_px * short / published.short_edge_px)
    fitted = published.fitted_to(categories)
    return replace(fitted, short_edge_px=short, long_edge_max_px=long)


def _check_engine(request: TrainRequest) -> None:
    if request.runtime.engine == "detectron2" and request.runtime.processes > 1:
        raise UsageError(
            "the detectron2 engine trains in one process here", hint="or use --engine native"
        )


def require_trainable(request: TrainRequest, published: Architecture) -> None:
    """Check that the engine trains the network, from the weights that are asked for.

    Raises:
        UsageError: It does not.
    """
    if published.detector == "rpn":
        raise UsageError(
            f"{request.network.model} only proposes regions, and is not trained by itself",
            hint="a Faster R-CNN trains its own proposals: --model faster_rcnn_R_50_FPN_1x",
        )
    if published.given_proposals:
        raise UsageError(
            f"{request.network.model} learns from region proposals in a file, which are not read "
            "by a training here",
            hint="a Faster R-CNN trains its own proposals: --model faster_rcnn_R_50_FPN_1x",
        )
    if published.is_panoptic:
        raise UsageError(
            f"{request.network.model} is not trained here: its semantic head has no loss yet",
            hint="boxes and masks alone are trained by: --model R_50_FPN_1x; an evaluation of "
            "panoptic weights of your own: harness eval --weights FILE",
        )
    if published.torchvision is None or request.runtime.engine == "detectron2":
        require_network(request.runtime.engine, published)
    elif request.initial.init == "imagenet":
        raise UsageError(
            f"{request.network.model} begins with torchvision's checkpoint, a file or random "
            "weights; torchvision's ImageNet weights are not pinned here",
            hint="give --init zoo",
        )


def check_division(request: TrainRequest, batch_size: int) -> None:
    """Check that a batch can be divided among processes and parts.

    Raises:
        UsageError: It cannot, or a launcher has started the processes already.
    """
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


def recipe_of(entry: ModelEntry) -> TrainRecipe:
    """Return the published training settings of a model.

    Raises:
        UsageError: It has none.
    """
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


def missing_parts(
    lock: Lock, entry: ModelEntry, recipe: TrainRecipe, request: TrainRequest
) -> tuple[Missing, ...]:
    """Return everything that a training needs and that is not on disk."""
    asked, root = request.data, request.network.root
    own = has_own_data(request)
    own_val = asked.val_annotations is not None or asked.val_images is not None
    learned = asked.dataset or (None if own else recipe.dataset)
    judged = None if own_val or own else VALIDATION_OF.get(asked.dataset or "", entry.dataset)
    found = [
        *missing_dataset(learned, root),
        *missing_files(asked.train_annotations, asked.train_images),
        *missing_dataset(judged, root),
        *missing_files(asked.val_annotations, asked.val_images),
        *missing_files(asked.test_annotations, asked.test_images),
    ]
    if request.initial.init == "zoo":
        found += missing_checkpoint(lock, entry, root)
    elif request.initial.init == "imagenet" and recipe.backbone is not None:
        found += missing_backbone(lock, recipe.backbone, root)
    return tuple(dict.fromkeys(found))


def _freeze(request: TrainRequest, kind: InitKind, recipe: TrainRecipe) -> int:
    if request.initial.freeze is not None:
        return request.initial.freeze
    return 0 if kind == "random" else recipe.frozen_stages
