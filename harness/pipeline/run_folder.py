"""The folder of one run: its name, who holds it, its log.

``run.json`` says what the run is from its first second on, so that a run that died can be continued
and scored without knowing anything else.
"""

from __future__ import annotations

import fcntl
import hashlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import (
    HarnessError,
    IntegrityError,
    Interrupted,
    RunFailedError,
    UsageError,
)
from harness.core.progress import Progress
from harness.core.record import DatasetFacts
from harness.core.requests import (
    BenchRequest,
    EvalRequest,
    RunRequest,
    SweepRequest,
    TrainRequest,
)
from harness.files.atomic import unwritable, write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.files.layout import runs_folder

RUN = "run.json"
RECORD = "record.json"
NIGHT = "night.json"  # what a night has instead
SWEEP = "sweep.json"  # and a sweep
LOG = "log.txt"
SHARDS = "shards"
CHECKPOINTS = "checkpoints"
CELLS = "cells"
PREDICTIONS = "predictions.json"
PER_CATEGORY = "per_category.csv"

#: Held by the process at work in the folder. It stays behind: removing it would let two in.
LOCK = ".lock"


RunKind = Literal["eval", "bench", "sweep", "train"]

#: Kinds of runs that can be continued.
RESUMABLE: tuple[RunKind, ...] = ("eval", "sweep", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """``run.json``. request: as asked, without what changes no number (output, resume, workers)."""

    run_id: str
    kind: RunKind
    request: dict[str, Any]
    dataset: DatasetFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that this process holds.

    begun: when this process began it. command: what the user typed. again: the command that
    continues it, None if none can.
    """

    run_id: str
    folder: Path
    begun: datetime
    command: tuple[str, ...]
    again: str | None
    progress: Progress


@contextmanager
def open_run(
    request: RunRequest,
    dataset: DatasetFacts,
    *,
    command: tuple[str, ...],
    now: datetime,
    progress: Progress,
) -> Iterator[Run]:
    """The run of ``request`` in a writable folder that no other process may enter meanwhile.

    A new run begins in ``request.output`` or below ``results/runs``; one to resume is found in
    ``output``, or is the newest unfinished run of the same request. Raises UsageError when the
    folder cannot be written, is in use, holds a run already, or has nothing to resume. Inside the
    block, failures are logged, and Ctrl-C or a full disk becomes an error that says how to go on.
    """
    resume = not isinstance(request, BenchRequest) and request.resume
    facts = RunFile(
        run_id=new_run_id(request, now),
        kind=kind_of(request),
        request=_comparable(request),
        dataset=dataset,
    )
    if resume:
        folder = request.output or _newest_unfinished(facts)
        facts = _resumable(folder)
    else:
        folder = request.output or runs_folder() / facts.run_id
    with _held(folder):
        if not resume:
            require_no_run(folder)
            write_text(folder / RUN, dumps(to_plain(facts), indent=2) + "\n")
        again = continuing(command, folder) if facts.kind in RESUMABLE else None
        run = Run(
            run_id=facts.run_id,
            folder=folder,
            begun=now,
            command=command,
            again=again,
            progress=progress,
        )
        with _logged(run):
            announce(run, f"run folder: {folder}")
            yield run


def new_run_id(request: RunRequest, now: datetime) -> str:
    """Sorts by time, is readable, and differs from others of the same second in its last part."""
    kind = kind_of(request)
    asked = request if isinstance(request, TrainRequest) else request.inference
    tail = hashlib.sha256(f"{now.isoformat()}{_comparable(request)}".encode()).hexdigest()[:6]
    return f"{now:%Y%m%d-%H%M%S}-{kind}-{asked.model}-{asked.engine}-{tail}"


def kind_of(request: RunRequest) -> RunKind:
    """The word that run ids and records call a request by."""
    if isinstance(request, TrainRequest):
        return "train"
    if isinstance(request, SweepRequest):
        return "sweep"
    return "eval" if isinstance(request, EvalRequest) else "bench"


def announce(run: Run, text: str) -> None:
    """One line for the user and for ``log.txt``."""
    run.progress.notice(text)
    log(run, text)


def log(run: Run, text: str) -> None:
    """One line for ``log.txt`` alone."""
    with (run.folder / LOG).open("a", encoding="utf-8") as file:
        file.write(f"{utc_now():%Y-%m-%dT%H:%M:%SZ} {text}\n")


class AnotherRunError(IntegrityError):
    """The folder's run is not the one that was asked for: asking again would not help."""


@contextmanager
def keeping(run: Run) -> Iterator[None]:
    """Failures in the block say that nothing finished is lost, and how to continue."""
    try:
        yield
    except AnotherRunError:
        raise
    except (RunFailedError, IntegrityError) as error:
        kept = f"finished images are kept; continue with: {run.again}"
        hint = kept if error.hint is None else f"{error.hint}\n  {kept}"
        raise type(error)(error.message, hint=hint) from error.__cause__


def read_run(folder: Path) -> RunFile:
    """What the run in ``folder`` is, finished or not; UsageError when there is none."""
    if not (folder / RUN).is_file():
        raise UsageError(f"{folder} holds no run: no {RUN}", hint="runs are made by: harness eval")
    return to_typed(RunFile, read(folder / RUN), where=str(folder / RUN))


def utc_now() -> datetime:
    """The clock of run ids, records and logs."""
    return datetime.now(timezone.utc)


def _comparable(request: RunRequest) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(request)
    return {
        key: value for key, value in plain.items() if key not in ("output", "resume", "workers")
    }


def _newest_unfinished(facts: RunFile) -> Path:
    for folder in sorted(runs_folder().glob(f"*-{facts.kind}-*"), reverse=True):
        unfinished = (folder / RUN).is_file() and not _is_finished(folder)
        if unfinished and read(folder / RUN)["request"] == facts.request:
            return folder
    raise UsageError(
        f"nothing to resume: no unfinished run of this request in {runs_folder()}",
        hint="leave out --resume, or name the folder with --output",
    )


def _resumable(folder: Path) -> RunFile:
    if not (folder / RUN).is_file():
        raise UsageError(f"nothing to resume in {folder}", hint="leave out --resume")
    if (folder / SWEEP).exists():
        raise UsageError(f"nothing to resume: the sweep in {folder} is finished")
    if _is_finished(folder):
        raise UsageError(
            f"nothing to resume: the run in {folder} is finished",
            hint=f"its numbers again: harness score {shlex.quote(str(folder))}",
        )
    return read_run(folder)


def require_no_run(folder: Path) -> None:
    """Raise UsageError where a run has begun, finished or not."""
    finished = _is_finished(folder)
    if finished or any((folder / name).exists() for name in (SHARDS, CHECKPOINTS, CELLS)):
        raise UsageError(
            f"{folder} already holds {'a finished' if finished else 'an unfinished'} run",
            hint="choose another --output" + ("" if finished else ", or continue it with --resume"),
        )


def _is_finished(folder: Path) -> bool:
    return any((folder / name).exists() for name in (RECORD, SWEEP))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("ab")
    except OSError as error:
        raise unwritable(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another process is at work in {folder}",
                hint="wait until it ends, or choose another --output",
            ) from None
        yield


@contextmanager
def _logged(run: Run) -> Iterator[None]:
    try:
        with _interruptible(run):
            yield
    except HarnessError as error:
        with suppress(OSError):  # the disk may be what failed
            log(run, f"error: {error}")
        raise


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """Ctrl-C, SIGTERM and failures of the disk as errors that say how to go on."""
    hint = "start it again" if run.again is None else f"continue with: {run.again}"
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint=hint) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        place = error.filename or run.folder
        raise RunFailedError(f"{place}: {error.strerror or error}", hint=hint) from error


def continuing(command: tuple[str, ...], folder: Path) -> str:
    """``command`` with what makes it continue the run in ``folder``."""
    words = [word for word in command if word != "--resume"]
    if not any(word == "--output" or word.startswith("--output=") for word in words):
        words += ["--output", str(folder)]
    return shlex.join([*words, "--resume"])
