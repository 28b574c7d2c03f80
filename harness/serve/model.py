"""What a service serves: a model with its weights proven, and what its classes are called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.engine import Engine, EngineName
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import ModelEntry
from harness.core.record import CheckpointFacts
from harness.core.requests.serving import ServeRequest
from harness.core.settings import check_settings
from harness.data.categories import categories_for
from harness.engines.opening import open_engine, own_engine, require_network, require_settings
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock
from harness.zoo.model_file import find_model_file


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model entry with everything its answers are made of.

    engine: the one that was asked for, or the model's own. categories: by class index.
    """

    entry: ModelEntry
    engine: EngineName
    architecture: Architecture
    categories: tuple[Category, ...]
    weights: Path
    checkpoint: CheckpointFacts


def find_served(request: ServeRequest) -> ServedModel:
    """The model a request names; every proof that needs no inference happens here."""
    _check_values(request)
    lock = read_lock()
    entry = find_model(lock, request.network.model)
    architecture = architecture_of(entry.architecture)
    engine = _proven_engine(request, architecture)
    categories = categories_for(
        entry.dataset, annotations=request.annotations, weights=request.network.weights
    )
    if request.network.weights is not None:
        architecture = replace(architecture, class_count=len(categories))
    if len(categories) != architecture.class_count:
        raise IntegrityError(
            f"{entry.name} knows {architecture.class_count} classes, "
            f"{request.annotations} lists {len(categories)} categories",
            hint="give the annotation file the weights were trained on",
        )
    file = find_model_file(
        lock,
        entry,
        architecture,
        categories,
        engine=engine,
        weights=request.network.weights,
        root=request.network.root,
    )
    return ServedModel(
        entry=entry,
        engine=engine,
        architecture=architecture,
        categories=categories,
        weights=file.path,
        checkpoint=file.checkpoint,
    )


def open_served(request: ServeRequest, model: ServedModel) -> Engine:
    """The engine of a served model, ready for inference."""
    return open_engine(
        model.engine,
        architecture=model.architecture,
        weights=model.weights,
        dataset=None,
        options=request.options,
    )


def _proven_engine(request: ServeRequest, architecture: Architecture) -> EngineName:
    """The engine to serve with, once it is known to compute this network with these settings."""
    if request.options.engine == "fake":
        raise UsageError("the fake engine answers from ground truth, and pictures have none")
    engine = request.options.engine or own_engine(architecture)
    require_network(engine, architecture)
    require_settings(engine, request.options)
    return engine


def _check_values(request: ServeRequest) -> None:
    check_settings(request)
    if request.network.weights is not None and not request.network.weights.is_file():
        raise UsageError(f"no such checkpoint file: {request.network.weights}")
