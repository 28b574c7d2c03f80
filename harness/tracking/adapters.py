"""What a tracker is given, and adapters to MLflow, W&B and TensorBoard.

Each adapter imports its package when it is used.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from harness.core.errors import PrerequisiteError
from harness.core.requests.reports import TrackerName
from harness.files.extras import install_command

#: Project or experiment that everything is in, unless the tracker's own variables name another.
PROJECT = "harness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A run or a night."""

    name: str
    """Its id."""
    kind: str
    """``eval``, ``bench``, ``train`` or ``nightly``."""
    created_utc: str
    """When it began, in ISO 8601."""
    folder: Path
    """Where it is."""
    settings: Mapping[str, str]
    """What was asked for, and on which machine, by dotted name."""
    tags: Mapping[str, str]
    """Verdict, versions and commit."""
    metrics: Mapping[str, float]
    """Numbers by name; what could not be computed is left out."""
    series: tuple[tuple[int, Mapping[str, float]], ...]
    """(iteration, numbers by name) of a training."""
    files: tuple[Path, ...]
    """Record, page and tables."""

    @property
    def began_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return round(datetime.fromisoformat(self.created_utc).timestamp() * 1000)


def require_package(name: TrackerName) -> None:
    """Check that the package of a tracker is installed.

    Raises:
        PrerequisiteError: It is not.
    """
    if importlib.util.find_spec(name) is None:
        raise PrerequisiteError(
            f"--track {name} needs the package {name}", hint=f"run: {install_command(name)}"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as texts by dotted name; what is None is left out.

    Args:
        tree: Plain values.
        prefix: Before each name.
    """
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = str(value)
    return found


T = TypeVar("T")

#: What one call may carry.
MOST_METRICS, MOST_PARAMETERS = 1000, 100

#: Characters of a value.
LONGEST = 500

#: What no name of a metric or parameter may have; those of a night have names of models in them.
REFUSED = re.compile(r"[^A-Za-z0-9_\-. :/]")


def to_mlflow(one: Tracked) -> str:
    """Log a run in the store that MLflow itself is configured for; where it is.

    ``MLFLOW_TRACKING_URI`` names the store and ``MLFLOW_EXPERIMENT_NAME`` the experiment, as for
    every program that uses MLflow.

    Args:
        one: What is logged.
    """
    from mlflow import MlflowClient, get_tracking_uri
    from mlflow.entities import Metric, Param

    client = MlflowClient()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    experiment = client.get_experiment_by_name(name)
    number = client.create_experiment(name) if experiment is None else experiment.experiment_id
    tags = {"harness.kind": one.kind, "harness.folder": str(one.folder.absolute()), **one.tags}
    run = client.create_run(number, start_time=one.began_ms, tags=tags, run_name=one.name).info
    metrics = [Metric(allowed(key), value, one.began_ms, 0) for key, value in one.metrics.items()]
    metrics += [
        Metric(allowed(f"training/{key}"), value, one.began_ms, step)
        for step, values in one.series
        for key, value in values.items()
    ]
    for part in _parts(metrics, MOST_METRICS):
        client.log_batch(run.run_id, metrics=part)
    parameters = [Param(allowed(key), value[:LONGEST]) for key, value in one.settings.items()]
    for part in _parts(parameters, MOST_PARAMETERS):
        client.log_batch(run.run_id, params=part)
    for path in one.files:
        client.log_artifact(run.run_id, str(path))
    client.set_terminated(run.run_id)
    return f"{get_tracking_uri()} (experiment {name}, run {run.run_id})"


def allowed(name: str) -> str:
    """The name with ``_`` for every character that MLflow refuses."""
    return REFUSED.sub("_", name)


def _parts(items: Sequence[T], most: int) -> Iterator[Any]:
    """Items in lists of at most so many."""
    for start in range(0, len(items), most):
        yield list(items[start : start + most])


def to_tensorboard(one: Tracked) -> str:
    """Write the numbers as scalars at the iteration of the run; the folder of the event file.

    A training's own curves are there already, where TensorBoard was installed when it ran.

    Args:
        one: What is logged.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = one.folder / "tensorboard"
    step = max((step for step, _ in one.series), default=0)
    values = [Summary.Value(tag=key, simple_value=value) for key, value in one.metrics.items()]
    writer = EventFileWriter(str(folder), filename_suffix=".harness")
    writer.add_event(Event(wall_time=one.began_ms / 1000, step=step, summary=Summary(value=values)))
    writer.close()
    return str(folder)


def to_wandb(one: Tracked) -> str:
    """Log a run, offline unless W&B's own variables say otherwise; the folder of its files.

    ``wandb sync`` uploads them, ``WANDB_MODE=online`` at once; ``WANDB_PROJECT`` names another
    project.

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
