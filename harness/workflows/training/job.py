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
from harness.data.catalog import VALIDATION_OF
from harness.data.images import require_resizable
from harness.data.objects import TrainingSet
from harness.data.run_dataset import state_of_images
from harness.data.trained_weights import require_edges
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
from harness.workflows.evaluation.proposals import UNPROVEN
from harness.workflows.runs.files import require_own_model
from harness.workflows.training.data import (
    both_data,
    has_own_data,
    held_out_data,
    learnable,
    published_for_training,
    require_proposals,
    require_same_categories,
    require_usable,
    training_regions,
    with_proposals,
)
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import facts_of_file, find_checkpoint, pinned_file
from harness.zoo.lock import find_artefact, find_model, read_lock
from harness.zoo.needed import (
    Missing,
    missing_artefact,
    missing_checkpoint,
    missing_dataset,
    missing_files,
    missing_proposals,
    require_all,
)

#: Why the AP of a training on region proposals of the user is not comparable.
UNPUBLISHED_REGIONS = "trained on other region proposals than the published ones"


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

    proposals: str | None = None
    """sha256 of the region proposals that are learned from; None for a network that makes its own.
    """

    init_kind: InitKind
    """What ``init`` contains."""

    init: Path | None
    """File of the initial weights; None for random ones."""

    checkpoint: CheckpointFacts | None
    """Facts of that file; None for random weights."""

    reference: tuple[dict[str, Any], ...] = ()
    """Lines of the curve to compare with; none without one."""

    checkpoint_signals: tuple[Signals, ...] = ()
    """Signals that may not be the end, so that they only ask for a checkpoint."""

    @property
    def is_retraining(self) -> bool:
        """Whether the model's own data are learned, so that its published numbers matter."""
        return self.training.dataset.name == self.recipe.dataset

    def proposals_of(self, dataset: Dataset) -> Path | None:
        """Return the region proposals that were given for the validation or the test data."""
        asked = self.request.data
        return asked.test_proposals if dataset is self.test else asked.val_proposals

    @property
    def places(self) -> tuple[Path, ...]:
        """The files and folders that are read: data, region proposals and initial weights."""
        sets = [self.training.dataset, self.validation, *([] if self.test is None else [self.test])]
        asked = self.request.data
        name = published_for_training(self.entry, self.request)
        learned = asked.train_proposals
        if name is not None:
            learned = self.request.network.root / find_artefact(read_lock(), name).path
        given = (learned, asked.val_proposals, asked.test_proposals, self.init)
        return (
            *dict.fromkeys(place for one in sets for place in one.places),
            *(one for one in given if one is not None),
        )

    @property
    def deviations(self) -> tuple[str, ...]:
        """What makes the trained AP not comparable with the published one, one sentence each."""
        return (*self._deviations_of_data(), *self._deviations())

    def _deviations_of_data(self) -> Iterator[str]:
        if self.training.dataset.name != self.recipe.dataset:
            yield f"trained on {self.training.dataset.name}, published for {self.recipe.dataset}"
        if self.proposals is not None:
            unknown = published_for_training(self.entry, self.request) is None
            yield UNPUBLISHED_REGIONS if unknown else UNPROVEN

    def _deviations(self) -> Iterator[str]:
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
        schedule, panoptic = self.plan.schedule, self.training.dataset.panoptic
        return {
            **identity_of(self.config),
            "dataset_sha256": self.training.dataset.digest,
            **({} if panoptic is None else {"panoptic_sha256": panoptic.digest}),
            **({} if self.proposals is None else {"proposals_sha256": self.proposals}),
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
    require_own_model(request)
    _check_engine(request)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    recipe = recipe_of(entry)
    published = architecture_of(entry.architecture)
    require_trainable(request, published)
    require_all(missing_parts(lock, entry, recipe, request), request.network.root)
    learned, validation = both_data(request, entry, recipe)
    require_usable(learned, entry.name, published, "--train-panoptic")
    training = learnable(learned, published)
    training, proposals = with_proposals(training, training_regions(entry, request))
    del learned  # with its parsed file, which is the largest thing here
    require_same_categories(training.dataset, validation)
    require_usable(validation, entry.name, published, "--val-panoptic")
    test = held_out_data(request)
    if test is not None:
        require_same_categories(training.dataset, test)
        require_usable(test, entry.name, published, "--test-panoptic")
    kind, init, checkpoint = _initial(lock, entry, recipe, request)
    plan = planned(request, recipe, training)
    check_division(request, plan.schedule.batch_size)
    architecture = _architecture_for(training, request, published)
    _require_fitting_images(architecture, training.dataset, validation, test)
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
        proposals=proposals,
        init_kind=kind,
        init=init,
        checkpoint=checkpoint,
        reference=() if request.reference_curve is None else read_curve(request.reference_curve),
    )


def _architecture_for(
    training: TrainingSet, request: TrainRequest, published: Architecture
) -> Architecture:
    """Return the network of a training, with the classes of its data."""
    truth = training.dataset.panoptic
    stuff = () if truth is None else truth.stuff
    return trained_architecture(published, request, training.dataset.categories, stuff)


def _require_fitting_images(architecture: Architecture, *datasets: Dataset | None) -> None:
    """Raise IntegrityError for no image, and for one that is too narrow for the network."""
    for dataset in datasets:
        if dataset is not None:
            if not dataset.images:
                raise IntegrityError(f"{dataset.annotations_path} lists no image")
            require_resizable(dataset, architecture.short_edge_px, architecture.long_edge_max_px)


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


def trained_architecture(
    published: Architecture,
    request: TrainRequest,
    categories: Sequence[Category],
    stuff: Sequence[Category] = (),
) -> Architecture:
    """Return the network of a training: with its classes, keypoints and size of images.

    Args:
        published: The model's own.
        request: What was asked for.
        categories: Categories of the training data.
        stuff: Their kinds of stuff; none leave a semantic head as it is.

    Raises:
        UsageError: Its images would be larger than weights may state.
    """
    fitted = published.fitted_to(categories, stuff)
    trained = fitted.resized_to(request.augmentation.short_edge_px or published.short_edge_px)
    sizes_px = (trained.short_edge_px, trained.long_edge_max_px)
    require_edges(*sizes_px, hint="give less with --short-edge")
    return trained


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
    require_proposals(request, published)
    if published.is_panoptic and request.runtime.engine == "detectron2":
        raise UsageError(
            f"{request.network.model} learns from PNGs of segments, which the detectron2 engine "
            "does not read here",
            hint="leave out --engine: the native engine has Detectron2's losses",
        )
    if published.torchvision is None or request.runtime.engine == "detectron2":
        require_network(request.runtime.engine, published, repair="leave out --engine")
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
        *missing_files(asked.train_annotations, asked.train_images, asked.train_panoptic),
        *missing_dataset(judged, root),
        *missing_files(asked.val_annotations, asked.val_images, asked.val_panoptic),
        *missing_files(asked.test_annotations, asked.test_images, asked.test_panoptic),
    ]
    if judged is not None and asked.val_proposals is None:
        found += missing_proposals(lock, entry, root)
    if (regions := published_for_training(entry, request)) is not None:
        found += missing_artefact(lock, regions, root)
    if request.initial.init == "zoo":
        found += missing_checkpoint(lock, entry, root)
    elif request.initial.init == "imagenet" and recipe.backbone is not None:
        found += missing_artefact(lock, recipe.backbone, root)
    return tuple(dict.fromkeys(found))


def _freeze(request: TrainRequest, kind: InitKind, recipe: TrainRecipe) -> int:
    if request.initial.freeze is not None:
        return request.initial.freeze
    return 0 if kind == "random" else recipe.frozen_stages
