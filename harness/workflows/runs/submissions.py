"""What was submitted to SLURM for a run: its jobs, their logs, and the errors they leave.

``submitted.json`` names the jobs, so their state can be read wherever the run folder is.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.core import errors
from harness.core.errors import (
    HarnessError,
    IntegrityError,
    PrerequisiteError,
    RunFailedError,
    UsageError,
)
from harness.core.requests.inference import EvalRequest
from harness.core.run_files import LOG, PAGE, RECORD
from harness.core.settings import recalled
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.launch.cluster_profile import Profile
from harness.launch.slurm import log_of
from harness.launch.slurm_programs import cancel, states
from harness.launch.slurm_tasks import this_job
from harness.workflows.runs.shards import shard_path

T = TypeVar("T")

SUBMITTED = "submitted.json"
JOBS = "jobs"

#: The last file of a preemption test; and the folder of its second run, which is not preempted.
PREEMPTION_TEST = "preemption_test.txt"
UNDISTURBED = "undisturbed"

WorkKind = Literal["eval", "bench", "train", "nightly"]

#: The name of the last, or only, job of a run.
LAST_JOB: dict[WorkKind, str] = {
    "eval": "scoring",
    "bench": "timing",
    "train": "training",
    "nightly": "night",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedShard:
    """A shard of an evaluation, as it was submitted."""

    job_id: str
    """SLURM's id of its job."""

    images: int
    """Images to infer."""

    images_before: int
    """Images the shard had when it was submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The content of ``submitted.json``."""

    work: WorkKind
    """What the jobs do."""

    command: tuple[str, ...]
    """What the user typed."""

    submitted_utc: str
    """When, in UTC (ISO 8601)."""

    profile: Profile
    """The cluster profile that was used."""

    final_job: str
    """Id of the job that merges and scores the shards, once their jobs have ended; other work is
    done by it alone.
    """

    evaluation: dict[str, Any] | None = None
    """The request of an evaluation; None of other work."""

    shards: tuple[SubmittedShard, ...] = ()
    """Of an evaluation; empty of other work."""

    processes: int = 1
    """Of the final job, on all nodes together."""

    iterations: int = 0
    """Of a training; 0 of other work."""

    preemption_test: bool = False
    """Whether this is a preemption test."""

    @property
    def request(self) -> EvalRequest:
        """The request of an evaluation; other work has none."""
        assert self.evaluation is not None
        return recalled(EvalRequest, self.evaluation)

    @property
    def job_ids(self) -> tuple[str, ...]:
        """Ids of all jobs, the final one last."""
        return (*(shard.job_id for shard in self.shards), self.final_job)


def require_sbatch_name(folder: Path) -> None:
    """Check that sbatch takes the name of a folder literally.

    Args:
        folder: The run folder.

    Raises:
        UsageError: The name has a ``%``, which sbatch replaces.
    """
    if "%" in str(folder):
        raise UsageError(f"{folder}: sbatch gives % in names of files a meaning of its own")


def write_submission(folder: Path, submission: Submission) -> None:
    """Write ``submitted.json`` into the run folder."""
    write_text(folder / SUBMITTED, dumps(to_plain(submission), indent=2) + "\n")


def read_submission(folder: Path) -> Submission:
    """Read ``submitted.json``.

    Args:
        folder: The run folder.

    Raises:
        UsageError: The run was not submitted.
        IntegrityError: The file is damaged.
    """
    path = folder / SUBMITTED
    if not path.is_file():
        raise UsageError(
            f"{folder} was not submitted to SLURM: no {SUBMITTED}",
            hint="runs are submitted by: harness submit",
        )
    return to_typed(Submission, read(path), where=str(path))


def is_finished(folder: Path, submission: Submission) -> bool:
    """Return whether the run has written its last file.

    Args:
        folder: The run folder.
        submission: What was submitted for it.
    """
    if submission.preemption_test:
        return (folder / JOBS / PREEMPTION_TEST).exists()
    return (folder / (PAGE if submission.work == "nightly" else RECORD)).exists()


def write_preemption_test(folder: Path, sentence: str) -> None:
    """Record with ``sentence`` that a preemption test succeeded."""
    write_text(folder / JOBS / PREEMPTION_TEST, sentence + "\n")


def require_no_jobs(folder: Path) -> None:
    """Check that no job of an earlier submission is queued or running.

    Where SLURM cannot be reached from this machine, nothing is checked.

    Args:
        folder: The run folder.

    Raises:
        UsageError: Jobs are still queued or running.
    """
    if not (folder / SUBMITTED).is_file() or submission_of_this_job(folder) is not None:
        return  # the last job begins when the others have ended
    try:
        found = states(read_submission(folder).job_ids)
    except PrerequisiteError:
        return  # no SLURM on this machine; a shard still has one writer at a time
    live = [job_id for job_id, state in found.items() if state.live]
    if live:
        named = shlex.quote(str(folder))
        raise UsageError(
            f"SLURM jobs are still at work in {folder}: {', '.join(live)}",
            hint=f"wait: harness wait {named}; or stop them: harness cancel {named}",
        )


def submission_of_this_job(folder: Path) -> Submission | None:
    """Return the submission whose last job this process is in; None for any other process.

    Args:
        folder: The run folder.

    Raises:
        IntegrityError: Its file is damaged.
    """
    job_id = this_job()
    if job_id is None or not (folder / SUBMITTED).is_file():
        return None
    submission = read_submission(folder)
    return submission if submission.final_job == job_id else None


def cancel_jobs(folder: Path) -> list[str]:
    """Cancel every job of the run that is queued or running.

    Args:
        folder: The run folder.

    Returns:
        The ids of the cancelled jobs.

    Raises:
        UsageError: The run was not submitted.
    """
    found = states(read_submission(folder).job_ids)
    live = [job_id for job_id, state in found.items() if state.live]
    if live:
        cancel(live)
    return live


def logs_of(folder: Path) -> dict[str, list[Path]]:
    """Return the paths of all logs of a run; a file may not exist yet.

    Args:
        folder: The run folder.

    Returns:
        By name of the job: its own logs, one a process, then its worker's.
    """
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
    """Return the path of the log of the final job's worker."""
    return folder / JOBS / "final.log"


def failure_path(folder: Path, number: int | None) -> Path:
    """Return the path of the error that a job leaves.

    Args:
        folder: The run folder.
        number: Number of the shard; None for the final job.
    """
    if number is None:
        return folder / JOBS / "final.error.json"
    return shard_path(folder, number).with_suffix(".error.json")


def forget_failures(folder: Path) -> None:
    """Remove the errors that earlier jobs left."""
    for path in (*(folder / JOBS).glob("*.error.json"), *folder.glob("shards/*.error.json")):
        path.unlink(missing_ok=True)


def failure_of(folder: Path, number: int | None) -> HarnessError | None:
    """Return the error that a job left, as it was raised there.

    Args:
        folder: The run folder.
        number: Number of the shard; None for the final job.

    Returns:
        The error; None where the job left none. A file that is damaged stands for an error as well.
    """
    path = failure_path(folder, number)
    if not path.is_file():
        return None
    damaged = RunFailedError(
        f"the job failed, and {path} does not say why: the file is damaged",
        hint="its log does; see: harness logs",
    )
    try:
        plain = read(path)
    except IntegrityError:
        return damaged
    if not isinstance(plain, dict) or not isinstance(plain.get("message"), str):
        return damaged
    kind = getattr(errors, str(plain.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, HarnessError)):
        kind = RunFailedError
    hint = plain.get("hint")
    return kind(plain["message"], hint=hint if isinstance(hint, str) else None)
