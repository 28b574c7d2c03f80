"""Where the weights of a run are now."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import IntegrityError
from harness.core.record import CheckpointFacts
from harness.files.digest import file_digest

#: Weights that a training leaves, the best first.
TRAINED = ("model_best.safetensors", "model_last.safetensors")


def weights_of(checkpoint: CheckpointFacts) -> Path:
    """Return the file that has the weights of a run, by their hash.

    A training evaluates its last weights, and keeps the best under another name in the same folder:
    the file that an evaluation was made of has other weights soon after.

    Args:
        checkpoint: Of the record of the run.

    Raises:
        IntegrityError: No file has them.
    """
    recorded = Path(checkpoint.path)
    for path in (recorded, *(recorded.with_name(name) for name in TRAINED)):
        if path.is_file() and file_digest(path) == checkpoint.sha256:
            return path
    raise IntegrityError(f"the weights of the run are no longer there: {recorded}")
