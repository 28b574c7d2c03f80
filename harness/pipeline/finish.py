"""How a submitted evaluation ends: its last job, and who waits for it."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError
from harness.core.progress import Progress, Silent
from harness.core.record import RunRecord
from harness.core.requests import EvalRequest
from harness.launch.slurm import log_of
from harness.measure.timing import PhaseTimer
from harness.pipeline.evaluate import conclude, evaluate
from harness.pipeline.records import read_record
from harness.pipeline.resolve import Job, resolve
from harness.pipeline.run_folder import (
    PREDICTIONS,
    RECORD,
    Run,
    continuing,
    keeping,
    log,
    open_run,
    utc_now,
)
from harness.pipeline.submission import (
    JOBS,
    RunStatus,
    Submission,
    failure_of,
    failure_path,
    read_submission,
    shard_is_done,
    status_of,
)
from harness.pipeline.workers import (
    WORKER_THREADS,
    ShardFacts,
    read_facts,
    with_threads_of_run,
)

#: Where a rehearsal evaluates once more, undisturbed.
UNDISTURBED = "undisturbed"

#: Seconds between two questions to SLURM; a busy controller serves others too.
QUESTION_PERIOD_S = 5.0


def finish(folder: Path) -> None:
    """Merge and score a submitted run: what the last job does.

    Raises RunFailedError that names every shard with missing images, why, and its log.
    """
    if (folder / RECORD).exists():
        return  # requeued after it was through
    submission = read_submission(folder)
    request = replace(submission.request, output=folder, resume=True)
    stopwatch = PhaseTimer(time.perf_counter, lambda: None)
    with stopwatch.phase("resolve"):
        job = resolve(request.inference)
    with open_run(
        request,
        job.dataset_facts,
        command=submission.command,
        now=utc_now(),
        progress=Silent(),
    ) as run:
        with keeping(run):
            facts = _collected(folder, submission)
        job = with_threads_of_run(job, folder)
        record = conclude(request, job, run, facts, stopwatch)
        if submission.rehearsal:
            _require_undisturbed(record, job, run)


def wait_for(
    folder: Path, *, progress: Progress, pause: Callable[[float], None] = time.sleep
) -> RunRecord:
    """The record of a submitted run once its last job has ended; raises what ended it instead.

    A controller that stops answering is waited for as well.
    """
    status = status_of(folder)
    with progress.task("infer", total=status.images, done=status.done, unit="img") as advance:
        quiet = 0
        # A node that died is requeued a moment after its job has ended: one look is not enough.
        while quiet < 2 and not _is_over(folder, status):
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
    if not (folder / RECORD).exists():
        unfinished = _unfinished(folder, status)
        again = continuing(read_submission(folder).command, folder)
        hint = f"finished images are kept; continue with: {again}"
        raise type(unfinished)(unfinished.message, hint=hint)
    return read_record(folder)


def _is_over(folder: Path, status: RunStatus) -> bool:
    ended = (folder / RECORD).exists() or failure_path(folder, None).exists()
    return ended and not status.live


def _collected(folder: Path, submission: Submission) -> list[ShardFacts]:
    """What the workers left, if every shard has all its images."""
    if not all(shard_is_done(folder, *numbered) for numbered in enumerate(submission.shards)):
        raise _unfinished(folder, status_of(folder))
    return [read_facts(folder, number) for number in range(len(submission.shards))]


def _unfinished(folder: Path, status: RunStatus) -> HarnessError:
    """One error that says which shards lack images, why, and where their logs are."""
    *shards, last = status.jobs
    lacking = [(number, job) for number, job in enumerate(shards) if job.stage != "done"]
    if not lacking:
        return RunFailedError(
            f"the scoring job {last.job_id} {last.stage}, without a result"
            + (f": {last.reason}" if last.reason else "")
            + f"\n    log: {last.log}"
        )
    failures = [failure_of(folder, number) for number, _ in lacking]
    lines = [
        f"{job.name} has {job.done} of {job.images} images, its job {job.job_id} {job.stage}"
        + (f": {job.reason}" if job.reason else "")
        + f"\n    log: {job.log}"
        for _, job in lacking
    ]
    kind = next((type(failure) for failure in failures if failure is not None), RunFailedError)
    return kind(
        f"{len(lacking)} of {len(shards)} shards are not complete:\n  " + "\n  ".join(lines)
    )


def _require_undisturbed(record: RunRecord, job: Job, run: Run) -> None:
    """Evaluate once more without an interruption; RunFailedError unless all bytes are the same."""
    unhit, folder = evaluate(
        EvalRequest(
            inference=replace(job.request, threads=job.request.threads or WORKER_THREADS),
            output=run.folder / UNDISTURBED,
        ),
        progress=Silent(),
        command=run.command,
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    same = filecmp.cmp(run.folder / PREDICTIONS, folder / PREDICTIONS, shallow=False)
    accuracy = [name for name in record.metrics if name.startswith(("bbox/", "segm/"))]
    if not same or any(record.metrics[name] != unhit.metrics[name] for name in accuracy):
        raise RunFailedError(
            f"the rehearsal gave other predictions than an undisturbed run in {folder}",
            hint=f"logs of the interrupted jobs: {log_of(run.folder / JOBS, '*')}",
        )
    log(
        run, "rehearsal: every task was preempted; predictions and metrics are the undisturbed ones"
    )
