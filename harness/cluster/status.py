"""How far the jobs of a submitted run are: read from its files and from SLURM, now."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError
from harness.core.progress import Progress
from harness.launch.slurm import log_of
from harness.launch.slurm_programs import JobState, states
from harness.measure.curve_band import departures
from harness.training.log import last_iteration, read_curve, read_log
from harness.workflows.evaluation.workers import facts_path, read_facts
from harness.workflows.runs.files import has_checkpoint, read_run
from harness.workflows.runs.folder import continuing
from harness.workflows.runs.shards import new_images, shard_path
from harness.workflows.runs.submissions import (
    JOBS,
    LAST_JOB,
    Submission,
    SubmittedShard,
    WorkKind,
    failure_of,
    failure_path,
    is_finished,
    read_submission,
)

#: What a shard's job, or the last job, is in a user's eyes.
Stage = Literal["queued", "running", "requeued", "done", "failed", "cancelled"]

#: What is counted: images of an evaluation, iterations of a training.
Unit = Literal["images", "iterations", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One job of a run."""

    name: str
    """Name of the job within the run."""

    job_id: str
    """Its id on the cluster."""

    stage: Stage
    """Queued, running or how it ended."""

    done: int
    """Finished units; 0 where nothing is counted."""

    total: int
    """Units of the job; 0 where nothing is counted."""

    restarts: int
    """How often it was requeued or started again."""

    node: str
    """Name of the node; empty while queued."""

    reason: str
    """Why it waits or failed, from the cluster."""

    log: Path
    """Log file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """Progress of all jobs of a run."""

    jobs: tuple[JobStatus, ...]
    """The jobs of the shards, then the final job."""

    done: int
    """Finished units of all jobs."""

    total: int
    """Units of all jobs."""

    unit: Unit
    """What is counted."""

    eta_s: float | None
    """Seconds left; None while no speed is known."""

    note: str = ""
    """Further facts, such as a training's loss."""

    @property
    def live(self) -> bool:
        return any(job.stage in ("queued", "running", "requeued") for job in self.jobs)


def status_of(folder: Path) -> RunStatus:
    """How far every job of the run is, asked now."""
    submission = read_submission(folder)
    said = states(submission.job_ids)
    if submission.work == "train":
        return _training_status(folder, submission, said[submission.final_job])
    jobs = [
        _job_status(
            f"shard {number:04d}",
            shard.job_id,
            said[shard.job_id],
            shard_is_done(folder, number, shard),
            folder,
            done=_images_of(folder, number, shard),
            total=shard.images,
            failure=failure_of(folder, number),
        )
        for number, shard in enumerate(submission.shards)
    ]
    jobs.append(_last_status(folder, submission, said[submission.final_job]))
    done, images = sum(job.done for job in jobs), sum(job.total for job in jobs)
    rate = sum(_rates(folder, jobs))
    eta_s = (images - done) / rate if rate else None
    unit: Unit = "images" if submission.work == "eval" else ""
    return RunStatus(jobs=tuple(jobs), done=done, total=images, unit=unit, eta_s=eta_s)


def shard_is_done(folder: Path, number: int, shard: SubmittedShard) -> bool:
    """Whether a shard has all its images, from the shard alone."""
    return _images_of(folder, number, shard) >= shard.images


def _images_of(folder: Path, number: int, shard: SubmittedShard) -> int:
    """How many images a shard got since it was submitted."""
    return new_images(shard_path(folder, number), 0)[0] - shard.images_before


def _training_status(folder: Path, submission: Submission, state: JobState) -> RunStatus:
    last = last_iteration(folder)
    done = 0 if last is None else last.iteration
    job = _last_status(folder, submission, state, done=done)
    eta_s, note = None, ""
    if last is not None:
        note = f"loss {last.total_loss:.3f}, learning rate {last.learning_rate:.2g}"
        note += "".join(f"; warning: {sentence}" for sentence in _departures(folder, submission))
        eta_s = (submission.iterations - done) * last.seconds if job.stage == "running" else None
    return RunStatus(
        jobs=(job,),
        done=done,
        total=submission.iterations,
        unit="iterations",
        eta_s=eta_s,
        note=note,
    )


def _departures(folder: Path, submission: Submission) -> list[str]:
    """What a training said last of the curve it was to be compared with; at most one sentence."""
    curve = read_run(folder).request["reference_curve"]
    if curve is None:
        return []
    try:
        lines = read_curve(Path(curve))
    except HarnessError:
        return []  # moved meanwhile: the training had read it, and continues
    return departures(read_log(folder), lines, submission.iterations)[-1:]


def _last_status(
    folder: Path, submission: Submission, state: JobState, *, done: int = 0
) -> JobStatus:
    # A preemption test continues after the record exists.
    over = is_finished(folder, submission) and not state.live
    return _job_status(
        LAST_JOB[submission.work],
        submission.final_job,
        state,
        over,
        folder,
        done=done,
        total=submission.iterations,
        failure=failure_of(folder, None),
    )


def _job_status(
    name: str,
    job_id: str,
    state: JobState,
    finished: bool,
    folder: Path,
    *,
    done: int,
    total: int,
    failure: HarnessError | None,
) -> JobStatus:
    return JobStatus(
        name=name,
        job_id=job_id,
        stage=_stage(state, finished),
        done=done,
        total=total,
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
        if job.stage == "running" and job.total and facts_path(folder, number).exists():
            facts = read_facts(folder, number)
            images, _ = new_images(shard_path(folder, number), 0)
            yield (images - facts.images_before) / max(time.time() - facts.begun_s, 1e-3)


#: What a run does, and in what it is counted.
VERBS: dict[WorkKind, tuple[str, str]] = {
    "eval": ("infer", "img"),
    "bench": ("time", "run"),
    "train": ("train", "it"),
    "nightly": ("measure", "night"),
}

#: Seconds between two questions to SLURM; a busy controller serves others too.
QUESTION_PERIOD_S = 5.0


def wait_for(
    folder: Path, *, progress: Progress, pause: Callable[[float], None] = time.sleep
) -> WorkKind:
    """Until a submitted run is finished; what it was. Raises what ended it instead.

    A controller that stops answering is waited for as well.
    """
    submission = read_submission(folder)
    status = status_of(folder)
    name, unit = VERBS[submission.work]
    with progress.task(name, total=status.total, done=status.done, unit=unit) as advance:
        quiet = 0
        # A node that died is requeued a moment after its job has ended: one look is not enough.
        while quiet < 2 and not _is_over(folder, submission, status):
            pause(QUESTION_PERIOD_S)
            before = status.done
            try:
                status = status_of(folder)
            except PrerequisiteError as error:
                progress.notice(error.message)
                continue
            advance(status.done - before)
            quiet = 0 if status.live else quiet + 1
    failure = failure_of(folder, None)
    if failure is not None:
        raise failure
    if not is_finished(folder, submission):
        found = unfinished(folder, status)
        raise type(found)(found.message, hint=way_on(folder, submission))
    return submission.work


def way_on(folder: Path, submission: Submission) -> str:
    """What is kept of an unfinished run, and the command that continues it."""
    again = continuing(submission.command, folder)
    match submission.work:
        case "eval":
            return f"finished images are kept; continue with: {again}"
        case "train" if has_checkpoint(folder):
            return f"the last checkpoint is kept; continue with: {again}"
        case _:
            return f"submit it again: {shlex.join(submission.command)}"


def _is_over(folder: Path, submission: Submission, status: RunStatus) -> bool:
    ended = is_finished(folder, submission) or failure_path(folder, None).exists()
    return ended and not status.live


def unfinished(folder: Path, status: RunStatus) -> HarnessError:
    """One error that says which shards lack images, why, and where their logs are."""
    *shards, last = status.jobs
    lacking = [(number, job) for number, job in enumerate(shards) if job.stage != "done"]
    if not lacking:
        return RunFailedError(
            f"the {last.name} job {last.job_id} {last.stage}, without a result"
            + (f": {last.reason}" if last.reason else "")
            + f"\n    log: {last.log}"
        )
    failures = [failure_of(folder, number) for number, _ in lacking]
    lines = [
        f"{job.name} has {job.done} of {job.total} images, its job {job.job_id} {job.stage}"
        + (f": {job.reason}" if job.reason else "")
        + f"\n    log: {job.log}"
        for _, job in lacking
    ]
    kind = next((type(failure) for failure in failures if failure is not None), RunFailedError)
    return kind(
        f"{len(lacking)} of {len(shards)} shards are not complete:\n  " + "\n  ".join(lines)
    )
