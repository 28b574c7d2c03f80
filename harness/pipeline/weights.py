"""The file of weights a job computes with: a checkpoint, or an exported file."""

from __future__ import annotations

from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset
from harness.core.model import Lock, ModelEntry
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import InferenceRequest
from harness.zoo.checkpoints import facts_of, find_checkpoint
from harness.zoo.exported import ExportFacts, proven_export


def weights_of(
    lock: Lock,
    entry: ModelEntry,
    architecture: Architecture,
    request: InferenceRequest,
    dataset: Dataset,
) -> tuple[Path | None, CheckpointFacts | None, ExportFacts | None]:
    """The file, what is known of it, and what an exported one says; the fake engine has none."""
    if request.engine == "fake":
        return None, None, None
    if request.engine == "onnx":
        categories = dataset.categories
        return proven_export(
            entry, architecture, request.weights, request.root, categories=categories
        )
    weights = find_checkpoint(lock, entry, request.weights, request.root)
    return weights, facts_of(lock, entry, weights), None
