"""Images to try the model on: of its own data set, where that is on this machine."""

from __future__ import annotations

from pathlib import Path

from harness.core.model import ModelEntry
from harness.data.catalog import COCO_LAYOUT, SYNTHETIC_SPLITS

EXAMPLES = 6


def find_examples(entry: ModelEntry, root: Path) -> tuple[Path, ...]:
    """Return a few images of the data set that the model's numbers are measured on.

    The embedded data set is generated where it is missing.

    Args:
        entry: The model.
        root: The folder with the data sets.

    Returns:
        At most six files, sorted by name; none where the data set is not on this machine.
    """
    if entry.dataset in SYNTHETIC_SPLITS:
        from harness.data.synthetic import generate

        folder = generate(entry.dataset, root) / "images"
    elif entry.dataset in COCO_LAYOUT:
        folder = root / COCO_LAYOUT[entry.dataset][1]
    else:
        return ()
    return tuple(sorted(folder.glob("*.jpg")) or sorted(folder.glob("*.png")))[:EXAMPLES]
