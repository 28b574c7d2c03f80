"""The files of weights that a training leaves, looked at again when it is continued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.training.checkpoints import write_weights
from harness.training.log import Best
from harness.training.step import Trainer
from harness.zoo.weights import read_checkpoint

WEIGHTS_BEST = "model_best.safetensors"
WEIGHTS_LAST = "model_last.safetensors"


def restored(folder: Path, trainer: Trainer, best: Best, notice: Callable[[str], None]) -> Best:
    """Write the files again that the checkpoint has, and forget best weights that are lost.

    Called in every process; the first one looks, and all of them agree.

    Args:
        folder: Folder of the run.
        trainer: As its checkpoint has it.
        best: As the checkpoint has it.
        notice: Receives a sentence where something was lost.

    Returns:
        The best evaluation whose weights are there. Where none is, an evaluation that the schedule
        ends with is made again, so that there is a best one.
    """
    if best.evaluated < 0:
        return best
    is_last = trainer.iteration == trainer.schedule.iterations
    is_lost = False
    if trainer.world.is_first:
        if is_last and best.evaluated == trainer.iteration:
            write_weights(folder / WEIGHTS_LAST, trainer)
        if best.iteration == trainer.iteration:
            write_weights(folder / WEIGHTS_BEST, trainer)
        is_lost = not _is_whole(folder / WEIGHTS_BEST)
    if trainer.world.mean_count(int(is_lost)) == 0:
        return best
    notice(
        f"{folder / WEIGHTS_BEST} is missing or damaged: the best weights, of iteration "
        f"{best.iteration}, are lost; those of the next evaluation take their place"
    )
    evaluated = trainer.iteration - 1 if is_last else best.evaluated
    return replace(Best(), evaluated=min(best.evaluated, evaluated))


def _is_whole(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except HarnessError:
        return False
    return True
