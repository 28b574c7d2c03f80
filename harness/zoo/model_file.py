"""The file a model is computed from: a checkpoint, or an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.engine import EngineName
from harness.core.model import Lock, ModelEntry
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import SIZES, ModelSpec, RecipeOverrides
from harness.zoo.checkpoints import find_checkpoint
from harness.zoo.exported import ExportFacts, find_exported, proven_export, read_facts

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


def with_recipe(
    architecture: Architecture,
    recipe: RecipeOverrides,
    entry: ModelEntry,
    *,
    engine: EngineName,
    network: ModelSpec,
) -> Architecture:
    """The network with the test recipe it is computed with.

    Sizes of images that are not asked for are those that an exported file states, which are of the
    training of its weights; else the model's own. All else of a file is in its graph.

    Args:
        architecture: With the model's own recipe.
        recipe: What was asked for instead.
        entry: The model.
        engine: Decides whether the file is an exported one.
        network: Names the file, or where exports are.

    Raises:
        PrerequisiteError: There is no exported file; with the command that makes it.
        UsageError: It has the ending of the other format.
        IntegrityError: It is damaged, or no exported file.
    """
    given = recipe.given
    if engine == "onnx" or engine == "pt2":
        file = find_exported(entry, network.weights, network.root, engine)
        stated = read_facts(file).architecture
        given = {**{name: getattr(stated, name) for name in SIZES}, **given}
    return replace(architecture, **given)


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
