"""A model with its weights proven and its categories known, without a data set, and its engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Category, Dataset
from harness.core.engine import Engine, EngineName
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import ModelEntry
from harness.core.requests.inference import EngineOptions, ModelSpec, RecipeOverrides
from harness.data.categories import categories_for, stuff_for
from harness.engines.opening import open_engine, own_engine, require_network, require_settings
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import written_since
from harness.zoo.lock import find_model, read_lock
from harness.zoo.model_file import (
    ModelFile,
    StatedSizes,
    find_model_file,
    stated_sizes,
    with_recipe,
)

#: How often weights are loaded that something touches meanwhile.
LOADS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenModel:
    """A model entry with everything its detections depend on."""

    entry: ModelEntry
    """What the lock says of it."""

    engine: EngineName
    """The requested engine, or the model's own."""

    architecture: Architecture
    """With as many classes as there are categories."""

    categories: tuple[Category, ...]
    """By class index."""

    file: ModelFile
    """The checkpoint, for the onnx and pt2 engines the exported file."""

    stuff: tuple[Category, ...] = ()
    """Kinds of stuff, by class of a semantic head from 1; none without one."""

    stated: StatedSizes | None = None
    """Sizes of images that the weights state."""


def prove_model(
    network: ModelSpec,
    options: EngineOptions,
    *,
    annotations: Path | None,
    panoptic: Path | None = None,
    lowest_score: float | None = None,
    recipe: RecipeOverrides,
) -> ProvenModel:
    """Make every proof of a model that needs no inference.

    Args:
        network: Model entry, weights, and where checkpoints are.
        options: How it will be computed.
        annotations: COCO file of the weights' categories; None for the model's or its training's.
        panoptic: Panoptic file whose kinds of stuff the weights know; None as in ``annotations``.
        lowest_score: Objects of this score must be let through; None leaves that to the recipe.
        recipe: Other sizes of images than those that the weights state, or the model's own.

    Raises:
        UsageError: The engine does not know the network or the settings.
        PrerequisiteError: Weights or device are missing.
        IntegrityError: Weights are not what they should be, or have other classes.
    """
    lock, weights = read_lock(), network.weights
    entry = find_model(lock, network.model)
    architecture = architecture_of(entry.architecture)
    engine = options.engine or own_engine(architecture)
    _require_computable(architecture, engine, options, weights)
    categories = categories_for(entry.dataset, annotations=annotations, weights=weights)
    stuff = stuff_for(architecture.semantic_classes, panoptic=panoptic, weights=weights)
    if weights is not None:
        architecture = architecture.fitted_to(categories, stuff)
    _require_class_count(entry, architecture, categories, annotations)
    stated = stated_sizes(architecture, recipe, entry, engine=engine, network=network)
    architecture = _letting_through(with_recipe(architecture, recipe, stated), lowest_score)
    file = find_model_file(
        lock, entry, architecture, categories, engine=engine, weights=weights, root=network.root
    )
    return ProvenModel(
        entry=entry,
        engine=engine,
        architecture=architecture,
        categories=categories,
        file=file,
        stuff=stuff,
        stated=stated,
    )


def _letting_through(architecture: Architecture, score: float | None) -> Architecture:
    """Return the network with objects of a score among its detections; None changes nothing."""
    lowest = architecture.score_threshold if score is None else score
    return replace(architecture, score_threshold=min(architecture.score_threshold, lowest))


def require_classes(architecture: Architecture) -> None:
    """Check that a network needs an image alone, and says what it finds.

    Raises:
        UsageError: It only proposes regions, or is given them.
    """
    if architecture.detector == "rpn":
        raise UsageError(
            "this network only proposes regions, and does not say what is in them",
            hint="harness eval measures how many objects they cover",
        )
    if architecture.given_proposals:
        raise UsageError(
            "this network takes its region proposals from a file, which has them for the images of "
            "a data set only",
            hint="harness eval evaluates it; of images of your own a Faster R-CNN proposes regions "
            "itself: --model faster_rcnn_R_50_FPN_1x",
        )


def require_own_images(engine: EngineName | None) -> None:
    """Check that an engine looks at images, as those without ground truth need.

    Args:
        engine: None for the model's own.

    Raises:
        UsageError: It is the fake one.
    """
    if engine == "fake":
        raise UsageError(
            "the fake engine returns the ground truth, and images of your own have none",
            hint="leave out --engine, which takes the model's own",
        )


def _require_computable(
    architecture: Architecture, engine: EngineName, options: EngineOptions, weights: Path | None
) -> None:
    require_own_images(engine)
    require_classes(architecture)
    if weights is not None and not weights.is_file():
        raise UsageError(f"no such checkpoint file: {weights}")
    require_network(engine, architecture)
    require_settings(engine, options)


def _require_class_count(
    entry: ModelEntry,
    architecture: Architecture,
    categories: tuple[Category, ...],
    annotations: Path | None,
) -> None:
    if len(categories) != architecture.class_count:
        raise IntegrityError(
            f"{entry.name} knows {architecture.class_count} classes, "
            f"{annotations} lists {len(categories)} categories",
            hint="give the annotation file the weights were trained on",
        )


def open_proven(model: ProvenModel, options: EngineOptions) -> Engine:
    """Return the engine of a proven model, ready for inference; raises as ``open_file`` does."""
    return open_file(
        model.engine, model.file, architecture=model.architecture, dataset=None, options=options
    )


def open_file(
    name: EngineName,
    file: ModelFile | None,
    *,
    architecture: Architecture,
    dataset: Dataset | None,
    options: EngineOptions,
) -> Engine:
    """Return the engine of a proven file, ready for inference.

    Args:
        name: Name of the engine.
        file: What it opens; None for an engine without weights.
        architecture: The network.
        dataset: The ground truth, for the fake engine.
        options: How it is to run.

    Raises:
        UsageError: The engine cannot compute this way.
        PrerequisiteError: The device, or a package of the engine, is missing.
        IntegrityError: The weights do not fit the network, or were written to since they were
            proven.
    """
    for _ in range(LOADS):
        engine = open_engine(
            name,
            architecture=architecture,
            weights=None if file is None else file.path,
            dataset=dataset,
            options=options,
        )
        if file is None or file.is_as_proven:
            return engine
        engine.close()  # what was loaded need not be what was proven
        again = file.proven_again()
        failure = written_since(file.path, file.state, again.state)
        file = again
    raise failure
