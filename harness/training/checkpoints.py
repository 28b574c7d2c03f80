"""Checkpoints a run continues from: everything an iteration depends on, written whole or not.

Order, augmentation and sampling are functions of the seed and the iteration, so the iteration is
their state. Weights to use elsewhere are written beside as ``.safetensors`` under the zoo's keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import IntegrityError, UsageError
from harness.core.requests.training import TrainRequest
from harness.core.settings import identity_defaults
from harness.files.atomic import replacing
from harness.files.json import differences
from harness.training.step import Trainer
from harness.zoo.weights import write_checkpoint

CHECKPOINTS = "checkpoints"
FORMAT = 2

#: Checkpoints kept beside the best one.
KEPT = 2


def save(folder: Path, trainer: Trainer, identity: dict[str, Any], facts: dict[str, Any]) -> Path:
    """A new checkpoint in ``folder``; older ones but the last KEPT are removed.

    identity: what a run that continues must share. facts: what else it wants to know again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"iteration-{trainer.iteration:07d}.pth"
    content = {
        "format": FORMAT,
        "identity": identity,
        "facts": facts,
        "iteration": trainer.iteration,
        "network": trainer.network.state_dict(),
        "optimiser": trainer.optimiser.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "average": None if trainer.average is None else trainer.average.state(),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, oldest first."""
    return sorted(folder.glob("iteration-*.pth"))


def resume(folder: Path, trainer: Trainer, identity: dict[str, Any]) -> dict[str, Any]:
    """``trainer`` as at the newest readable checkpoint of ``folder``; the facts saved with it.

    Raises UsageError when there is none, IntegrityError when it belongs to another run.
    """
    found = checkpoints(folder)
    if not found:
        raise UsageError(f"nothing to resume: no checkpoint in {folder}", hint="leave out --resume")
    content = _read_newest(found, trainer.device)
    _require_same(content["identity"], identity, folder)
    trainer.network.load_state_dict(content["network"])
    trainer.optimiser.load_state_dict(content["optimiser"])
    trainer.scaler.load_state_dict(content["scaler"])
    if trainer.average is not None:
        trainer.average.restore(content["average"])
    trainer.iteration = content["iteration"]
    facts: dict[str, Any] = content["facts"]
    return facts


def write_weights(path: Path, trainer: Trainer) -> None:
    """The network's tensors under the zoo's keys, of the moving average where there is one."""
    tensors: dict[str, npt.NDArray[np.float32]] = {
        key: value.detach().float().cpu().contiguous().numpy()
        for key, value in trainer.network.state_dict().items()
    }
    if trainer.average is not None:
        for key, value in trainer.average.average.items():
            tensors[key] = value.detach().float().cpu().contiguous().numpy()
    write_checkpoint(path, tensors)


def _read_newest(found: list[Path], device: torch.device) -> dict[str, Any]:
    """The newest checkpoint; the one before it when that is damaged."""
    faults = []
    for path in reversed(found):
        try:
            content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            faults.append(f"{path.name}: {type(error).__name__}")
            continue
        if content.get("format") == FORMAT:
            return content
        faults.append(f"{path.name}: format {content.get('format')}, expected {FORMAT}")
    raise IntegrityError(
        f"no checkpoint in {found[0].parent} can be read: {'; '.join(faults)}",
        hint="start again in another --output",
    )


def _require_same(found: dict[str, Any], expected: dict[str, Any], folder: Path) -> None:
    # What was saved before a setting existed had its default.
    differing = differences({**identity_defaults(TrainRequest), **found}, expected)
    if differing:
        raise IntegrityError(
            f"{folder} belongs to another training:\n  " + "\n  ".join(differing),
            hint="ask for the same as it, or choose another --output",
        )
