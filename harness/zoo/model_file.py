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

#: What is said of an exported file whose graph has other bytes than it was exported with.
CHANGED = (
    "the exported file was changed since its export (quantised, simplified or edited): "
    "this is its own AP, no longer its checkpoint's"
)


class ModelFile(NamedTuple):
    """A file of weights, and what is known about it."""

    path: Path
    """The file."""

    checkpoint: CheckpointFacts
    """The facts of the weights."""

    exported: ExportFacts | None
    """Metadata of an exported file; None for a checkpoint."""

    changed: bool = False
    """Whether its graph is another one than was exported."""


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
    """The file for an engine that needs one, proven.

    Args:
        lock: With the artefact of the pinned checkpoint.
        entry: The model.
        architecture: With the test recipe of this run.
        categories: Of the data set.
        engine: Decides whether it is a checkpoint or an exported file.
        weights: A file of the user; None for the model's own.
        root: Folder of downloads and exports.

    Raises:
        PrerequisiteError: There is no such file; with the command that makes or fetches it.
        UsageError: ``weights`` has a name that no checkpoint has.
        IntegrityError: The file has another content than it must have.
    """
    if engine == "onnx" or engine == "pt2":
        return ModelFile(
            *proven_export(entry, architecture, weights, root, categories=categories, kind=engine)
        )
    facts = find_checkpoint(lock, entry, weights, root)
    return ModelFile(Path(facts.path), facts, None)
