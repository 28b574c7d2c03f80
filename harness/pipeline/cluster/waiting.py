"""Who waits for a submitted run: until it is finished, or what ended it instead."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError
from harness.core.progress import Progress
from harness.pipeline.cluster.status import RunStatus, status_of
from harness.pipeline.cluster.submission import (
    Submission,
    WorkKind,
    failure_of,
    failure_path,
    is_finished,
    read_submission,
)
from harness.pipeline.run_files import has_checkpoint
from harness.pipeline.run_folder import continuing

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
