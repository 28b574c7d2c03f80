"""What a service serves: a model whose weights are verified, and the names of its classes."""

from __future__ import annotations

from harness.core.engine import Engine
from harness.core.requests.serving import ServeRequest
from harness.core.settings import check_settings
from harness.engines.loading import ProvenModel, open_proven, prove_model


def find_served(request: ServeRequest) -> ProvenModel:
    """Find the model that a request names, and verify what needs no inference.

    Raises:
        HarnessError: A setting is invalid, or the weights are missing, damaged or of another
            network.
    """
    check_settings(request)
    return prove_model(request.network, request.options, annotations=request.annotations)


def open_served(request: ServeRequest, model: ProvenModel) -> Engine:
    """Open the engine of a model.

    Args:
        request: What is served.
        model: As ``find_served`` returns it.

    Returns:
        An engine that is ready for inference.
    """
    return open_proven(model, request.options)
