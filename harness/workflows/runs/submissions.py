"""What was submitted to SLURM for a run: its jobs, their logs, and the errors they leave.

``submitted.json`` names the jobs, so any shell on any machine that sees the run folder can ask.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.core import errors
from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError, UsageError
from harness.core.requests.inference import EvalRequest
from harness.core.settings import recalled
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.launch.clients import cancel, states
from harness.launch.profile import Profile
from harness.launch.slurm import log_of
from harness.workflows.runs.files import LOG, PAGE, RECORD
from harness.workflows.runs.shards import shard_path

T = TypeVar("T")

SUBMITTED = "submitted.json"
JOBS = "jobs"

#: What a rehearsal leaves last, among the jobs; and where it does its work once more, undisturbed.
REHEARSED = "rehearsal.txt"
UNDISTURBED = "undisturbed"

WorkKind = Literal["eval", "bench", "train", "nightly"]

#: What the last, or only, job of a run is called.
LAST_JOB: dict[WorkKind, str] = {
    "eval": "scoring",
    "bench": "timing",
    "train": "training",
    "nightly": "night",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedShard:
    """images: to be inferred; images_before: those the shard had when it was submitted."""

    job_id: str
    images: int
    images_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """``submitted.json``.

    shards: of an evaluation, whose request ``evaluation`` has. final_job: merges and scores them
    once all have ended; other work is done by it alone. processes: of the final job, on all nodes.
    iterations: of a training, 0 of other work.
    """

    work: WorkKind
    command: tuple[str, ...]
    submitted_utc: str
    profile: Profile
    final_job: str
    evaluation: dict[str, Any] | None = None
    shards: tuple[SubmittedShard, ...] = ()
    processes: int = 1
    iterations: int = 0
    rehearsal: bool = False

    @property
    def request(self) -> EvalRequest:
        """What was asked of an evaluation; only these are submitted in shards."""
        assert self.evaluation is not None
        return recalled(EvalRequest, self.evaluation)

    @property
    def job_ids(self) -> tuple[str, ...]:
        return (*(shard.job_id for shard in self.shards), self.final_job)


def absolute(request: T) -> T:
    """The request with every path one that means the same in any working folder."""
    changed: dict[str, Any] = {}
    for field in fields(request):  # type: ignore[arg-type]  # T is a dataclass
        value = getattr(request, field.name)
        if isinstance(value, Path):
            changed[field.name] = value.absolute()
        elif is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = absolute(value)
    return replace(request, **changed)  # type: ignore[type-var]


def require_sbatch_name(folder: Path) -> None:
    """Raise UsageError for a folder whose name sbatch would read as something else."""
    if "%" in str(folder):
        raise UsageError(f"{folder}: sbatch gives % in names of files a meaning of its own")


def write_submission(folder: Path, submission: Submission) -> None:
    """Leave ``submitted.json``."""
    write_text(folder / SUBMITTED, dumps(to_plain(submission), indent=2) + "\n")


def read_submission(folder: Path) -> Submission:
    """Raises UsageError for a run that was not submitted."""
    path = folder / SUBMITTED
    if not path.is_file():
        raise UsageError(
            f"{folder} was not submitted to SLURM: no {SUBMITTED}",
            hint="runs are submitted by: harness submit",
        )
    return to_typed(Submission, read(path), where=str(path))


def is_finished(folder: Path, submission: Submission) -> bool:
    """Whether what the run leaves last is there."""
    if submission.rehearsal:
        return (folder / JOBS / REHEARSED).exists()
    return (folder / (PAGE if submission.work == "nightly" else RECORD)).exists()


def write_rehearsed(folder: Path, sentence: str) -> None:
    """Leave word that a rehearsal proved what it was to prove."""
    write_text(folder / JOBS / REHEARSED, sentence + "\n")


def require_no_jobs(folder: Path) -> None:
    """Raise UsageError while jobs of an earlier submission are at work in the run."""
    if not (folder / SUBMITTED).is_file():
        return
    try:
        found = states(read_submission(folder).job_ids)
    except PrerequisiteError:
        return  # no SLURM to ask here; a shard still has one writer at a time
    live = [job_id for job_id, state in found.items() if state.live]
    if live:
        raise UsageError(
            f"SLURM jobs are still at work in {folder}: {', '.join(live)}",
            hint=f"wait: harness wait {folder}; or stop them: harness cancel {folder}",
        )


def cancel_jobs(folder: Path) -> list[str]:
    """Stop every job of the run that is queued or running; their ids."""
    found = states(read_submission(folder).job_ids)
    live = [job_id for job_id, state in found.items() if state.live]
    if live:
        cancel(live)
    return live


def logs_of(folder: Path) -> dict[str, list[Path]]:
    """The logs of every job: its own, a process each, then its worker's."""
    submission = read_submission(folder)
    found = {
        f"shard {number:04d}": [
            log_of(folder / JOBS, shard.job_id),
            shard_path(folder, number).with_suffix(".log"),
        ]
        for number, shard in enumerate(submission.shards)
    }
    ranks = range(submission.processes)
    last = [log_of(folder / JOBS, submission.final_job, rank) for rank in ranks]
    last.append(folder / LOG if submission.work == "train" else final_log(folder))
    return {**found, LAST_JOB[submission.work]: last}


def final_log(folder: Path) -> Path:
    """Where the worker of the final job writes."""
    return folder / JOBS / "final.log"


def failure_path(folder: Path, number: int | None) -> Path:
    """Where shard ``number``, or the final job, leaves its error."""
    if number is None:
        return folder / JOBS / "final.error.json"
    return shard_path(folder, number).with_suffix(".error.json")


def forget_failures(folder: Path) -> None:
    """Remove the errors that jobs left."""
    for path in (*(folder / JOBS).glob("*.error.json"), *folder.glob("shards/*.error.json")):
        path.unlink(missing_ok=True)


def failure_of(folder: Path, number: int | None) -> HarnessError | None:
    """The error a job left, as it was raised there."""
    path = failure_path(folder, number)
    if not path.is_file():
        return None
    plain = read(path)
    kind: type[HarnessError] = getattr(errors, plain["kind"], RunFailedError)
    return kind(plain["message"], hint=plain["hint"])
