"""The file a model is computed from: a checkpoint, or an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.engine import EngineName
from harness.core.model import Lock, ModelEntry
from harness.core.record import CheckpointFacts
from harness.zoo.checkpoints import find_checkpoint
from harness.zoo.exported import ExportFacts, proven_export


class ModelFile(NamedTuple):
    """The file, what is known of its checkpoint, and what an exported one says of itself."""

    path: Path
    checkpoint: CheckpointFacts
    exported: ExportFacts | None


def find_model_file(
    lock: Lock,
    entry: ModelEntry,
    architecture: Architecture,
    categories: Sequence[Category],
    *,
    engine: EngineName,
    weights: Path | None,
    root: Path,
) -> ModelFile:
    """The file for an engine that needs one: ``weights``, or the model's own below ``root``."""
    if engine == "onnx":
        return ModelFile(*proven_export(entry, architecture, weights, root, categories=categories))
    facts = find_checkpoint(lock, entry, weights, root)
    return ModelFile(Path(facts.path), facts, None)
