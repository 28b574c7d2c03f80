"""The file a model is computed from: a checkpoint, or an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from harness.core.architecture import LONGEST_EDGE_PX, Architecture
from harness.core.dataset import Category
from harness.core.engine import EngineName
from harness.core.errors import IntegrityError
from harness.core.model import Lock, ModelEntry
from harness.core.printable import shown
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import SIZES, ModelSpec, RecipeOverrides
from harness.data.trained_weights import is_edge, short_edge_learned
from harness.zoo.checkpoints import (
    NO_FILE,
    WeightsState,
    find_checkpoint,
    weights_digest,
    weights_state,
    written_since,
)
from harness.zoo.exported import ExportFacts, find_exported, proven_export, read_facts

#: What is said of an exported file whose graph has other bytes than it was exported with.
CHANGED = (
    "the exported file was changed since its export (quantised, simplified or edited): "
    "this is its own AP, no longer its checkpoint's"
)


class StatedSizes(NamedTuple):
    """Sizes of images that weights were trained for, where these are not the model's own."""

    short_edge_px: int
    """Length the shorter edge of an image is resized to."""

    long_edge_max_px: int
    """Greatest length of the longer edge after that."""

    source: Path
    """What says so: the file of weights, the exported file, or the folder of the training."""

    @property
    def sentence(self) -> str:
        """The same for the user."""
        return (
            f"images are resized as {self.source} states: short edge {self.short_edge_px} px, "
            f"long edge at most {self.long_edge_max_px} px"
        )


def remarks(changed: bool, stated: StatedSizes | None) -> tuple[str, ...]:
    """What a user should know of the weights, a sentence each.

    Args:
        changed: Whether an exported file is another one than was exported.
        stated: Sizes of images that the weights state.
    """
    return (*([CHANGED] if changed else []), *([] if stated is None else [stated.sentence]))


class ModelFile(NamedTuple):
    """A file of weights, and what is known about it."""

    path: Path
    """The file."""

    checkpoint: CheckpointFacts
    """The facts of the weights."""

    exported: ExportFacts | None
    """Metadata of an exported file; None for a checkpoint."""

    changed: bool
    """Whether its graph is another one than was exported."""

    state: WeightsState
    """The state of the file when it was proven."""

    @property
    def is_as_proven(self) -> bool:
        """Whether nothing has written to the file or replaced it since it was proven."""
        return weights_state(self.path) == self.state

    def proven_again(self) -> ModelFile:
        """The file as it is now, where it still has the content that was proven.

        A copy of the same content may have taken its place, or its time may have been changed.

        Raises:
            IntegrityError: It has another content, or is being written to.
        """
        now = weights_state(self.path)
        if now[0] == NO_FILE or weights_digest(self.path) != self.checkpoint.sha256:
            raise written_since(self.path, self.state, now)
        return self._replace(state=now)


def stated_sizes(
    architecture: Architecture,
    recipe: RecipeOverrides,
    entry: ModelEntry,
    *,
    engine: EngineName,
    network: ModelSpec,
) -> StatedSizes | None:
    """The sizes of images that the weights state; what is asked for wins over them.

    Weights of a training have them in their file, or in the folder that it left; an exported file
    in its metadata.

    Args:
        architecture: With the model's own recipe.
        recipe: What was asked for instead.
        entry: The model.
        engine: Decides whether the file is an exported one.
        network: Names the file, or where exports are.

    Returns:
        None where both sizes are asked for, none are stated, or the model's own are.

    Raises:
        PrerequisiteError: There is no exported file; with the command that makes it.
        UsageError: It has the ending of the other format.
        IntegrityError: It is damaged, or no exported file.
    """
    asked = {name: value for name, value in recipe.given.items() if name in SIZES}
    if len(asked) == len(SIZES) or engine == "fake":
        return None
    if engine == "onnx" or engine == "pt2":
        source = find_exported(entry, network.weights, network.root, engine)
        trained = read_facts(source).architecture
    else:
        learned = short_edge_learned(network.weights)
        if learned is None:
            return None
        source = learned.source
        _require_edges(source, learned.short_edge_px)
        trained = architecture.resized_to(learned.short_edge_px)
    _require_edges(source, *(getattr(trained, name) for name in SIZES))
    own, stated = ([getattr(one, name) for name in SIZES] for one in (architecture, trained))
    if stated == own:
        return None
    return StatedSizes(**{**dict(zip(SIZES, stated, strict=True)), **asked}, source=source)


def _require_edges(source: Path, *lengths_px: int) -> None:
    """Check the size of images that a file states before an image is made of it.

    Raises:
        IntegrityError: It would fill the memory.
    """
    for length_px in lengths_px:
        if is_edge(length_px):
            continue
        raise IntegrityError(
            f"{source} states that images are resized to an edge of {shown(length_px)} px; "
            f"allowed are 1 to {LONGEST_EDGE_PX:,}",
            hint="restore it from a copy, or say the sizes with --short-edge and --long-edge-max",
        )


def with_recipe(
    architecture: Architecture, recipe: RecipeOverrides, stated: StatedSizes | None
) -> Architecture:
    """The network with the test recipe it is computed with.

    Args:
        architecture: With the model's own recipe.
        recipe: What was asked for instead.
        stated: Sizes that its weights state; all else of an exported file is in its graph.
    """
    sizes = {} if stated is None else {name: getattr(stated, name) for name in SIZES}
    return replace(architecture, **{**sizes, **recipe.given})


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
        categories: Categories of the data set.
        engine: Decides whether it is a checkpoint or an exported file.
        weights: A file of the user; None for the model's own.
        root: Folder of downloads and exports.

    Raises:
        PrerequisiteError: There is no such file; with the command that makes or fetches it.
        UsageError: ``weights`` has a name that no checkpoint has.
        IntegrityError: The file has another content than it must have.
    """
    if engine == "onnx" or engine == "pt2":
        state = weights_state(find_exported(entry, weights, root, engine))
        path, facts, exported, changed = proven_export(
            entry, architecture, weights, root, categories=categories, kind=engine
        )
        return ModelFile(path, facts, exported, changed, state)
    facts = find_checkpoint(lock, entry, weights, root)
    path = Path(facts.path)
    return ModelFile(path, facts, None, False, weights_state(path))
