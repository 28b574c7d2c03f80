"""What lies in the folder of a run, and what it says of the run.

``run.json`` says what the run is from its first second on, so that a run that died can be continued
and scored without knowing anything else.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import UsageError
from harness.core.record import DatasetFacts
from harness.core.requests.inference import EvalRequest, SweepRequest
from harness.core.requests.pictures import FolderRequest, PredictRequest
from harness.core.requests.training import TrainRequest
from harness.files.json import read, to_plain, to_typed
from harness.files.layout import runs_folder

RUN = "run.json"
RECORD = "record.json"
NIGHT = "night.json"  # what a night has instead
SWEEP = "sweep.json"  # and a sweep
REPORT = "predict.json"  # and predictions on pictures
LOG = "log.txt"
SHARDS = "shards"
CHECKPOINTS = "checkpoints"
CELLS = "cells"
EVALUATIONS = "evaluations"  # of a training
PREDICTIONS = "predictions.json"
PER_CATEGORY = "per_category.csv"

#: Of a night, of a sweep and of predictions. A night leaves it last.
PAGE = "index.html"

RunKind = Literal["eval", "bench", "sweep", "train", "predict"]

#: Kinds of runs that can be continued.
RESUMABLE: tuple[RunKind, ...] = ("eval", "sweep", "train", "predict")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """``run.json``. request: as asked, without what changes no number (output, resume, workers)."""

    run_id: str
    kind: RunKind
    request: dict[str, Any]
    dataset: DatasetFacts


def new_run_id(request: FolderRequest, now: datetime) -> str:
    """Sorts by time, is readable, and differs from others of the same second in its last part."""
    kind = kind_of(request)
    asked = request if isinstance(request, TrainRequest) else request.inference
    tail = hashlib.sha256(f"{now.isoformat()}{comparable(request)}".encode()).hexdigest()[:6]
    parts = (f"{now:%Y%m%d-%H%M%S}", kind, asked.model, asked.engine, tail)
    return "-".join(part for part in parts if part is not None)


def kind_of(request: FolderRequest) -> RunKind:
    """The word that run ids and records call a request by."""
    if isinstance(request, TrainRequest):
        return "train"
    if isinstance(request, SweepRequest):
        return "sweep"
    if isinstance(request, PredictRequest):
        return "predict"
    return "eval" if isinstance(request, EvalRequest) else "bench"


def read_run(folder: Path) -> RunFile:
    """What the run in ``folder`` is, finished or not; UsageError when there is none."""
    if not (folder / RUN).is_file():
        raise UsageError(f"{folder} holds no run: no {RUN}", hint="runs are made by: harness eval")
    return to_typed(RunFile, read(folder / RUN), where=str(folder / RUN))


def comparable(request: FolderRequest) -> dict[str, Any]:
    """The request without what changes no number."""
    plain: dict[str, Any] = to_plain(request)
    return {
        key: value for key, value in plain.items() if key not in ("output", "resume", "workers")
    }


def newest_unfinished(facts: RunFile) -> Path:
    """The folder of the newest run with the request of ``facts``; UsageError when there is none."""
    for folder in sorted(runs_folder().glob(f"*-{facts.kind}-*"), reverse=True):
        unfinished = (folder / RUN).is_file() and not is_finished(folder)
        if unfinished and read(folder / RUN)["request"] == facts.request:
            return folder
    raise UsageError(
        f"nothing to resume: no unfinished run of this request in {runs_folder()}",
        hint="leave out --resume, or name the folder with --output",
    )


def resumable(folder: Path, kind: RunKind) -> RunFile:
    """The unfinished run in ``folder``; UsageError where there is none of this kind."""
    if not (folder / RUN).is_file():
        raise UsageError(f"nothing to resume in {folder}", hint="leave out --resume")
    for name, kind_of_run in ((SWEEP, "sweep"), (REPORT, "prediction")):
        if (folder / name).exists():
            raise UsageError(f"nothing to resume: the {kind_of_run} in {folder} is finished")
    if is_finished(folder):
        raise UsageError(
            f"nothing to resume: the run in {folder} is finished",
            hint=f"its numbers again: harness score {shlex.quote(str(folder))}",
        )
    found = read_run(folder)
    if found.kind != kind:
        raise UsageError(
            f"{folder} holds a run of another kind: {found.kind}, not {kind}",
            hint=f"continue it as what it is, or choose another --output for the {kind}",
        )
    return found


def require_no_run(folder: Path) -> None:
    """Raise UsageError where a run has begun, finished or not."""
    finished = is_finished(folder)
    if (folder / PREDICTIONS).exists() and not (folder / RUN).exists():
        raise UsageError(
            f"{folder} holds a {PREDICTIONS} that no run here left", hint="choose another --output"
        )
    begun = has_checkpoint(folder) or any((folder / name).exists() for name in (SHARDS, CELLS))
    if finished or begun:
        raise UsageError(
            f"{folder} already holds {'a finished' if finished else 'an unfinished'} run",
            hint="choose another --output" + ("" if finished else ", or continue it with --resume"),
        )


def has_checkpoint(folder: Path) -> bool:
    """Whether a training in ``folder`` has something to go on from."""
    return any((folder / CHECKPOINTS).glob("*.pth"))


def is_finished(folder: Path) -> bool:
    """Whether the run in ``folder`` left what a run leaves last."""
    return any((folder / name).exists() for name in (RECORD, SWEEP, REPORT))
