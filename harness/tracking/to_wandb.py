"""Weights & Biases: offline, unless its own variables say otherwise."""

from __future__ import annotations

import os
from typing import Any

from harness.tracking.tracked import PROJECT, Tracked


def track(one: Tracked) -> str:
    """Log a run; the folder of W&B's files, which ``wandb sync`` uploads.

    ``WANDB_MODE=online`` uploads at once; ``WANDB_PROJECT`` names another project.

    Args:
        one: What is logged.
    """
    import wandb

    mode: Any = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=one.name,
        job_type=one.kind,
        config=dict(one.settings),
        tags=[f"{key}: {value}"[:64] for key, value in one.tags.items()],
        dir=str(one.folder),
        mode=mode,
        settings=wandb.Settings(console="off", silent=True),
    )
    for step, values in one.series:
        run.log({f"training/{key}": value for key, value in values.items()}, step=step)
    run.summary.update(dict(one.metrics))
    for path in one.files:
        run.save(str(path), base_path=str(one.folder), policy="now")
    run.finish()
    return str(run.dir)
