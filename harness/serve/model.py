"""What a service serves: a model with its weights proven, and what its classes are called."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.engine import Engine, EngineName
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import ModelEntry
from harness.core.record import CheckpointFacts
from harness.core.requests.serving import ServeRequest
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
    entry = find_model(lock, request.model)
    architecture = architecture_of(entry.architecture)
    engine = _proven_engine(request, architecture)
    categories = categories_for(
        entry.dataset, annotations=request.annotations, weights=request.weights
    )
    if request.weights is not None:
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
        weights=request.weights,
        root=request.root,
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
        device=request.device,
        precision=request.precision,
        memory_format=request.memory_format,
        compiled=request.compile,
        threads=request.threads,
    )


def _proven_engine(request: ServeRequest, architecture: Architecture) -> EngineName:
    """The engine to serve with, once it is known to compute this network with these settings."""
    if request.engine == "fake":
        raise UsageError("the fake engine answers from ground truth, and pictures have none")
    engine = request.engine or own_engine(architecture)
    require_network(engine, architecture)
    require_settings(
        engine,
        device=request.device,
        precision=request.precision,
        memory_format=request.memory_format,
        compiled=request.compile,
    )
    return engine


def _check_values(request: ServeRequest) -> None:
    if not 0 <= request.port <= 65535:
        raise UsageError(f"--port must be between 0 and 65535, got {request.port}")
    lowest = {"--threads": request.threads, "--queue": request.queue}
    for option, value in lowest.items():
        if value is not None and value < 1:
            raise UsageError(f"{option} must be at least 1, got {value}")
    sizes = {"--max-upload-mb": request.max_upload_mb, "--max-megapixels": request.max_megapixels}
    for option, size in sizes.items():
        if not 0 < size < math.inf:
            raise UsageError(f"{option} must be above 0, and finite, got {size}")
    if request.weights is not None and not request.weights.is_file():
        raise UsageError(f"no such checkpoint file: {request.weights}")
