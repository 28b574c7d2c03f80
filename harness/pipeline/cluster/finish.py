"""The last job of a submitted evaluation: it merges the shards, and scores."""

from __future__ import annotations

import filecmp
import time
from dataclasses import replace
from pathlib import Path

from harness.core.errors import RunFailedError
from harness.core.progress import Silent
from harness.core.record import RunRecord
from harness.core.requests import EvalRequest
from harness.launch.slurm import log_of
from harness.measure.timing import PhaseTimer
from harness.pipeline.cluster.status import shard_is_done, status_of
from harness.pipeline.cluster.submission import (
    JOBS,
    Submission,
    read_submission,
)
from harness.pipeline.cluster.waiting import unfinished
from harness.pipeline.evaluate import conclude, evaluate
from harness.pipeline.resolve import Job, resolve
from harness.pipeline.run_files import PREDICTIONS, RECORD
from harness.pipeline.run_folder import Run, keeping, log, open_run, utc_now
from harness.pipeline.workers import (
    WORKER_THREADS,
    ShardFacts,
    read_facts,
    with_threads_of_run,
)

#: Where a rehearsal evaluates once more, undisturbed.
UNDISTURBED = "undisturbed"


def finish(folder: Path) -> None:
    """Merge and score a submitted run: what the last job does.

    Raises RunFailedError that names every shard with missing images, why, and its log.
    """
    if (folder / RECORD).exists():
        return  # requeued after it was through
    submission = read_submission(folder)
    assert submission.evaluation is not None  # only evaluations are submitted in shards
    request = replace(submission.evaluation, output=folder, resume=True)
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


def _collected(folder: Path, submission: Submission) -> list[ShardFacts]:
    """What the workers left, if every shard has all its images."""
    if not all(shard_is_done(folder, *numbered) for numbered in enumerate(submission.shards)):
        raise unfinished(folder, status_of(folder))
    return [read_facts(folder, number) for number in range(len(submission.shards))]


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
