"""``--track``: what a finished run or night left, given to a tracker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import RunFailedError, UsageError
from harness.core.nightly import Night
from harness.core.record import RunRecord
from harness.core.requests.reports import TrackerName
from harness.core.run_files import NIGHT, PAGE, PER_CATEGORY, RECORD, RUN_PAGE
from harness.files.json import read, to_plain, to_typed
from harness.tracking.adapters import (
    Tracked,
    flat,
    require_package,
    to_mlflow,
    to_tensorboard,
    to_wandb,
)
from harness.training.log import read_log
from harness.workflows.runs.folder import read_record

#: Function of each tracker.
TRACKERS = {
    "mlflow": to_mlflow,
    "wandb": to_wandb,
    "tensorboard": to_tensorboard,
}


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Check that trackers can be used, before what they track is run.

    Raises:
        PrerequisiteError: The package of one is missing.
    """
    for name in names:
        require_package(name)


def track_run(folder: Path, name: TrackerName) -> str:
    """Log a finished run or night; where it is logged.

    Args:
        folder: The run folder, or that of a night.
        name: The tracker.

    Raises:
        UsageError: Nothing in the folder is finished.
        PrerequisiteError: The package of the tracker is missing.
        RunFailedError: The tracker refused, or could not be reached.
    """
    found = _tracked(folder)
    require_package(name)
    try:
        return TRACKERS[name](found)
    except Exception as error:  # a tracker's packages raise whatever they like
        raise RunFailedError(
            f"{name} did not take the run: {type(error).__name__}: {error}",
            hint=f"the run itself is finished; again: harness.track_run({str(folder)!r}, {name!r})",
        ) from error


def _tracked(folder: Path) -> Tracked:
    if (folder / RECORD).is_file():
        return _of_record(folder, read_record(folder))
    if (folder / NIGHT).is_file():
        return _of_night(folder, to_typed(Night, read(folder / NIGHT), where=str(folder / NIGHT)))
    raise UsageError(f"{folder} holds no finished run and no night")


def _of_record(folder: Path, record: RunRecord) -> Tracked:
    here = record.environment
    settings = flat(record.resolved) | flat(to_plain(here), "environment.")
    return Tracked(
        name=record.run_id,
        kind=record.kind,
        created_utc=record.created_utc,
        folder=folder,
        settings=settings | flat({"command": " ".join(record.command)}),
        tags={
            "verdict": record.verdict.outcome,
            "dataset": record.dataset.name,
            "harness": record.harness_version,
            **({"commit": here.git_commit} if here.git_commit else {}),
        },
        metrics={key: value for key, value in record.metrics.items() if value is not None},
        series=_series(folder) if record.kind == "train" else (),
        files=_files(folder, RECORD, RUN_PAGE, PER_CATEGORY),
    )


def _of_night(folder: Path, night: Night) -> Tracked:
    return Tracked(
        name=night.night_id,
        kind="nightly",
        created_utc=night.created_utc,
        folder=folder,
        settings=flat(night.environment, "environment."),
        tags={"status": night.status, "harness": night.harness_version},
        metrics={
            f"{one.cell.name}/{key}": value
            for one in night.cells
            for key, value in one.metrics.items()
        },
        series=(),
        files=_files(folder, NIGHT, PAGE),
    )


def _series(folder: Path) -> tuple[tuple[int, dict[str, float]], ...]:
    """Numbers of a training by iteration."""
    return tuple(
        (
            int(line["iteration"]),
            {
                key: float(value)
                for key, value in line.items()
                if key != "iteration" and value is not None
            },
        )
        for line in read_log(folder)
    )


def _files(folder: Path, *names: str) -> tuple[Path, ...]:
    return tuple(folder / name for name in names if (folder / name).is_file())
