"""Where the weights of a run are now, and the sizes of images that it was asked for."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from harness.core.errors import IntegrityError
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import SIZES, RecipeOverrides
from harness.workflows.runs.files import RunFile
from harness.zoo.checkpoints import weights_digest

#: Weights that a training leaves, the best first.
TRAINED = ("model_best.safetensors", "model_last.safetensors")


def weights_of(checkpoint: CheckpointFacts) -> Path:
    """Return the file that has the weights of a run, by their hash.

    A training evaluates its last weights, and keeps the best under another name in the same folder:
    the file that an evaluation was made of has other weights soon after.

    Args:
        checkpoint: Checkpoint of the record of the run.

    Raises:
        IntegrityError: No file has them.
    """
    recorded = Path(checkpoint.path)
    found = _file_with(recorded, checkpoint.sha256)
    if found is None:
        raise IntegrityError(f"the weights of the run are no longer there: {recorded}")
    return found


def sizes_of_run(run: RunFile) -> RecipeOverrides:
    """Return the sizes that a run was asked for.

    Args:
        run: Run of an evaluation, a benchmark, a sweep or predictions.
    """
    asked = run.request["inference"]
    return RecipeOverrides(**{name: asked.get(name) for name in SIZES})


def completed(asked: RecipeOverrides, known: RecipeOverrides) -> RecipeOverrides:
    """Return what was asked for, else what is known of the weights.

    Args:
        asked: By the request.
        known: Sizes of a run of them.
    """
    return replace(known, **asked.given)


def unchanged_file(path: Path, sha256: str, *, config: Path, option: str) -> Path:
    """Return the file that a ``config.toml`` names by path and hash, where it is now.

    Args:
        path: As the file names it.
        sha256: Its hash then.
        config: The file of settings, for the message.
        option: That gives another file.

    Raises:
        IntegrityError: It has changed, and no file beside it is what it was.
    """
    found = _file_with(path, sha256)
    if found is not None:
        return found
    if not path.is_file():
        return path  # what reads it says that it is not there
    raise IntegrityError(
        f"{path} is no longer the file that {config} was written for\n"
        f"  expected sha256 {sha256}\n"
        f"  found    sha256 {weights_digest(path)}",
        hint="a training replaces its weights, and keeps the best and the last; to take the file "
        f"as it is now, add: {option} {shlex.quote(str(path))}",
    )


def _file_with(path: Path, sha256: str) -> Path | None:
    """Return the file with this hash: ``path``, or where a training keeps it; None without one."""
    for one in (path, *(path.with_name(name) for name in TRAINED)):
        if one.is_file() and weights_digest(one) == sha256:
            return one
    return None
