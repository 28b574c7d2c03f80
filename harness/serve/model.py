"""What a service serves: a model with its weights proven, and what its classes are called."""

from __future__ import annotations

from harness.core.engine import Engine
from harness.core.requests.serving import ServeRequest
from harness.core.settings import check_settings
from harness.engines.loading import ProvenModel, open_proven, prove_model


def find_served(request: ServeRequest) -> ProvenModel:
    """The model a request names; every proof that needs no inference happens here."""
    check_settings(request)
    return prove_model(request.network, request.options, annotations=request.annotations)


def open_served(request: ServeRequest, model: ProvenModel) -> Engine:
    """The engine of a served model, ready for inference."""
    return open_proven(model, request.options)
