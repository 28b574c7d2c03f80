"""The last job of a submitted evaluation: it merges the shards, and scores."""

from __future__ import annotations

import filecmp
import time
from dataclasses import replace
from pathlib import Path

from harness.core.errors import RunFailedError
from harness.core.progress import Silent
from harness.core.requests.inference import EvalRequest
from harness.core.settings import replaced
from harness.core.tasks import is_accuracy
from harness.launch.slurm import log_of
from harness.measure.timing import PhaseTimer
from harness.workflows.cluster.status import shard_is_done, status_of, unfinished
from harness.workflows.evaluation.evaluate import conclude, evaluate
from harness.workflows.evaluation.resolve import resolve
from harness.workflows.evaluation.workers import (
    WORKER_THREADS,
    ShardFacts,
    read_facts,
    with_threads_of_run,
)
from harness.workflows.runs.files import PREDICTIONS, RECORD, RUN
from harness.workflows.runs.folder import keeping, open_run, utc_now
from harness.workflows.runs.records import read_record
from harness.workflows.runs.submissions import (
    JOBS,
    UNDISTURBED,
    Submission,
    is_finished,
    read_submission,
    write_rehearsed,
)


def finish(folder: Path) -> None:
    """Merge and score a submitted run: what the last job does. Requeued, it does what is left.

    Raises:
        RunFailedError: Images are missing; names every such shard, the reason and its log.
    """
    submission = read_submission(folder)
    if not (folder / RECORD).exists():
        _score(folder, submission)
    if submission.rehearsal and not is_finished(folder, submission):
        _require_undisturbed(folder, submission)


def _score(folder: Path, submission: Submission) -> None:
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
        conclude(request, with_threads_of_run(job, folder), run, facts, stopwatch)


def _collected(folder: Path, submission: Submission) -> list[ShardFacts]:
    """What the workers left, if every shard has all its images."""
    if not all(shard_is_done(folder, *numbered) for numbered in enumerate(submission.shards)):
        raise unfinished(folder, status_of(folder))
    return [read_facts(folder, number) for number in range(len(submission.shards))]


def _require_undisturbed(folder: Path, submission: Submission) -> None:
    """Evaluate once more without an interruption; RunFailedError unless all bytes are the same."""
    asked = submission.request.inference
    unhit = folder / UNDISTURBED
    if not (unhit / RECORD).exists():
        evaluate(
            EvalRequest(
                inference=replaced(asked, threads=asked.options.threads or WORKER_THREADS),
                output=unhit,
                resume=(unhit / RUN).exists(),
            ),
            progress=Silent(),
            command=submission.command,
            now=utc_now(),
            stopwatch=PhaseTimer(time.perf_counter, lambda: None),
        )
    same = filecmp.cmp(folder / PREDICTIONS, unhit / PREDICTIONS, shallow=False)
    if not same or _accuracy(folder) != _accuracy(unhit):
        raise RunFailedError(
            f"the rehearsal gave other predictions than an undisturbed run in {unhit}",
            hint=f"logs of the interrupted jobs: {log_of(folder / JOBS, '*')}",
        )
    write_rehearsed(
        folder, "every task was preempted; predictions and metrics are the undisturbed ones"
    )


def _accuracy(folder: Path) -> dict[str, float | None]:
    metrics = read_record(folder).metrics
    return {name: value for name, value in metrics.items() if is_accuracy(name)}
