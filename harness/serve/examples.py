"""Pictures to try the model on: of its own data set, as far as it lies on this machine."""

from __future__ import annotations

from pathlib import Path

from harness.core.model import ModelEntry
from harness.data.catalog import COCO_LAYOUT, SYNTHETIC_SPLITS

EXAMPLES = 6


def find_examples(entry: ModelEntry, root: Path) -> tuple[Path, ...]:
    """A few pictures of the data set that the model's numbers are measured on; none is no error.

    The embedded data set is generated when it is not there.
    """
    if entry.dataset in SYNTHETIC_SPLITS:
        from harness.data.synthetic import generate

        folder = generate(entry.dataset, root) / "images"
    elif entry.dataset in COCO_LAYOUT:
        folder = root / COCO_LAYOUT[entry.dataset][1]
    else:
        return ()
    return tuple(sorted(folder.glob("*.jpg")) or sorted(folder.glob("*.png")))[:EXAMPLES]
