"""What was submitted to SLURM for a run, and what has become of it.

``submitted.json`` names the jobs; how far they are is told from the shards and from SLURM, so any
shell on any machine that sees the run folder can ask.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core import errors
from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError, UsageError
from harness.core.requests import EvalRequest
from harness.files.json import read, to_typed
from harness.launch.clients import JobState, cancel, states
from harness.launch.profile import Profile
from harness.launch.slurm import log_of
from harness.pipeline.run_folder import RECORD
from harness.pipeline.shards import new_images, shard_path
from harness.pipeline.workers import facts_path, read_facts

SUBMITTED = "submitted.json"
JOBS = "jobs"

#: What a shard's job, or the last job, is in a user's eyes.
Stage = Literal["queued", "running", "requeued", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedShard:
    """images: to be inferred; images_before: those the shard had when it was submitted."""

    job_id: str
    images: int
    images_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """``submitted.json``. final_job: merges and scores once all others have ended."""

    command: tuple[str, ...]
    submitted_utc: str
    request: EvalRequest
    profile: Profile
    shards: tuple[SubmittedShard, ...]
    final_job: str
    rehearsal: bool

    @property
    def job_ids(self) -> tuple[str, ...]:
        return (*(shard.job_id for shard in self.shards), self.final_job)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One job of a run. done and images: of this submission; both 0 for the last job."""

    name: str
    job_id: str
    stage: Stage
    done: int
    images: int
    restarts: int
    node: str
    reason: str
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """jobs: the shards', then the last one. eta_s: None while no speed is known."""

    jobs: tuple[JobStatus, ...]
    done: int
    images: int
    eta_s: float | None

    @property
    def live(self) -> bool:
        return any(job.stage in ("queued", "running", "requeued") for job in self.jobs)


def read_submission(folder: Path) -> Submission:
    """Raises UsageError for a run that was not submitted."""
    path = folder / SUBMITTED
    if not path.is_file():
        raise UsageError(
            f"{folder} was not submitted to SLURM: no {SUBMITTED}",
            hint="runs are submitted by: harness submit",
        )
    return to_typed(Submission, read(path), where=str(path))


def status_of(folder: Path) -> RunStatus:
    """How far every job of the run is, asked now."""
    submission = read_submission(folder)
    said = states(submission.job_ids)
    jobs = [
        _shard_status(folder, number, shard, said[shard.job_id])
        for number, shard in enumerate(submission.shards)
    ]
    last = said[submission.final_job]
    # A rehearsal goes on after the record is there.
    over = (folder / RECORD).exists() and not last.live
    jobs.append(_job_status("scoring", submission.final_job, last, over, folder))
    done, images = sum(job.done for job in jobs), sum(job.images for job in jobs)
    rate = sum(_rates(folder, jobs))
    eta_s = (images - done) / rate if rate else None
    return RunStatus(jobs=tuple(jobs), done=done, images=images, eta_s=eta_s)


def images_of(folder: Path, number: int, shard: SubmittedShard) -> int:
    """How many images a shard got since it was submitted."""
    return new_images(shard_path(folder, number), 0)[0] - shard.images_before


def shard_is_done(folder: Path, number: int, shard: SubmittedShard) -> bool:
    """Whether a shard has all its images; told from the shard alone."""
    return images_of(folder, number, shard) >= shard.images


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
    """The logs of every job: its own, then its worker's."""
    submission = read_submission(folder)
    found = {
        f"shard {number:04d}": [
            log_of(folder / JOBS, shard.job_id),
            shard_path(folder, number).with_suffix(".log"),
        ]
        for number, shard in enumerate(submission.shards)
    }
    scoring = folder / JOBS / "scoring.log"
    return {**found, "scoring": [log_of(folder / JOBS, submission.final_job), scoring]}


def failure_path(folder: Path, number: int | None) -> Path:
    """Where shard ``number``, or the last job, leaves its error."""
    if number is None:
        return folder / JOBS / "scoring.error.json"
    return shard_path(folder, number).with_suffix(".error.json")


def failure_of(folder: Path, number: int | None) -> HarnessError | None:
    """The error a job left, as it was raised there."""
    path = failure_path(folder, number)
    if not path.is_file():
        return None
    plain = read(path)
    kind: type[HarnessError] = getattr(errors, plain["kind"], RunFailedError)
    return kind(plain["message"], hint=plain["hint"])


def _shard_status(folder: Path, number: int, shard: SubmittedShard, state: JobState) -> JobStatus:
    return _job_status(
        f"shard {number:04d}",
        shard.job_id,
        state,
        shard_is_done(folder, number, shard),
        folder,
        done=images_of(folder, number, shard),
        images=shard.images,
        failure=failure_of(folder, number),
    )


def _job_status(
    name: str,
    job_id: str,
    state: JobState,
    finished: bool,
    folder: Path,
    *,
    done: int = 0,
    images: int = 0,
    failure: HarnessError | None = None,
) -> JobStatus:
    return JobStatus(
        name=name,
        job_id=job_id,
        stage=_stage(state, finished),
        done=done,
        images=images,
        restarts=state.restarts,
        node=state.node,
        reason=state.reason if failure is None else failure.message,
        log=log_of(folder / JOBS, job_id),
    )


def _stage(state: JobState, finished: bool) -> Stage:
    if finished:
        return "done"
    if state.live:
        if state.state != "PENDING":
            return "running"
        return "requeued" if state.restarts else "queued"
    return "cancelled" if state.state == "CANCELLED" else "failed"


def _rates(folder: Path, jobs: list[JobStatus]) -> Iterator[float]:
    """Images a second of every shard at work."""
    for number, job in enumerate(jobs):
        if job.stage == "running" and job.images and facts_path(folder, number).exists():
            facts = read_facts(folder, number)
            images, _ = new_images(shard_path(folder, number), 0)
            yield (images - facts.images_before) / max(time.time() - facts.begun_s, 1e-3)
