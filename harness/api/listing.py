"""The zoo as a list, at once: no setting of another function is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import public

if TYPE_CHECKING:
    from harness.zoo.listing import ListedModel


@public
def list_models(*words: str, root: str | Path | None = None) -> tuple[ListedModel, ...]:
    """List the zoo, as ``harness models``.

    Args:
        words: Only models whose name, title, network or task contains every one of these.
        root: Folder of checkpoints; None for the default of the command line.

    Returns:
        The model entries with their references and whether their checkpoints are on disk.

    Raises:
        UsageError: No model has all the words.
    """
    from harness.files.layout import default_places
    from harness.zoo.listing import list_models

    return list_models(default_places()["datasets"] if root is None else Path(root), words)
