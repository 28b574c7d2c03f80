"""How far the jobs of a submitted run are: told from its files and from SLURM, now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError
from harness.launch.clients import JobState, states
from harness.launch.slurm import log_of
from harness.measure.band import departures
from harness.pipeline.cluster.submission import (
    JOBS,
    LAST_JOB,
    Submission,
    SubmittedShard,
    failure_of,
    is_finished,
    read_submission,
)
from harness.pipeline.run_files import read_run
from harness.pipeline.shards import new_images, shard_path
from harness.pipeline.workers import facts_path, read_facts
from harness.training.log import last_iteration, read_curve, read_log

#: What a shard's job, or the last job, is in a user's eyes.
Stage = Literal["queued", "running", "requeued", "done", "failed", "cancelled"]

#: What is counted: images of an evaluation, iterations of a training.
Unit = Literal["images", "iterations", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One job of a run. done of total, in the run's unit; both 0 where nothing is counted."""

    name: str
    job_id: str
    stage: Stage
    done: int
    total: int
    restarts: int
    node: str
    reason: str
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """jobs: the shards', then the last one. eta_s: None while no speed is known.

    note: what else there is to know, such as a training's loss.
    """

    jobs: tuple[JobStatus, ...]
    done: int
    total: int
    unit: Unit
    eta_s: float | None
    note: str = ""

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
    """Whether a shard has all its images; told from the shard alone."""
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
        return []  # moved meanwhile: the training had read it, and goes on
    return departures(read_log(folder), lines, submission.iterations)[-1:]


def _last_status(
    folder: Path, submission: Submission, state: JobState, *, done: int = 0
) -> JobStatus:
    # A rehearsal goes on after the record is there.
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
