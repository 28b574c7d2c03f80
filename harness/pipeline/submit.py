"""``harness submit eval``: an evaluation as a SLURM array, its shards merged by a last job."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from harness.core.errors import HarnessError, RunFailedError, UsageError
from harness.core.progress import Progress, Silent
from harness.core.record import RunRecord
from harness.core.requests import EvalRequest, SubmitRequest
from harness.files.atomic import write_text
from harness.files.json import dumps, to_plain
from harness.files.layout import runs_folder
from harness.launch.local import Work
from harness.launch.profile import Profile, read_profile
from harness.launch.shared import require_shared
from harness.launch.slurm import SlurmTask, cancel, log_of, require_slurm, script, submit
from harness.measure.timing import PhaseTimer
from harness.pipeline.evaluate import conclude, evaluate
from harness.pipeline.records import read_record
from harness.pipeline.resolve import Job, resolve
from harness.pipeline.run_folder import (
    PREDICTIONS,
    RECORD,
    SHARDS,
    Run,
    announce,
    keeping,
    log,
    new_run_id,
    open_run,
    utc_now,
)
from harness.pipeline.shards import new_images, shard_path
from harness.pipeline.submission import (
    JOBS,
    SUBMITTED,
    RunStatus,
    Submission,
    SubmittedShard,
    failure_of,
    failure_path,
    read_submission,
    require_no_jobs,
    status_of,
)
from harness.pipeline.workers import (
    WORKER_THREADS,
    ShardFacts,
    ShardTask,
    divided,
    infer_shard,
    missing_images,
    read_facts,
    with_threads_of_run,
)

#: Where a rehearsal evaluates once more, undisturbed.
UNDISTURBED = "undisturbed"

#: Seconds between two questions to SLURM; a busy controller serves others too.
QUESTION_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """Where a submitted run lies, and its jobs."""

    folder: Path
    submission: Submission


def submit_evaluation(
    request: SubmitRequest, *, progress: Progress, command: tuple[str, ...], now: datetime
) -> Submitted:
    """Submit the array and the last job; returns as soon as SLURM has taken them.

    Everything that can be proven here is: data, weights, profile, and that nodes see the folder.
    """
    if request.shards < 1:
        raise UsageError(f"--shards must be at least 1, got {request.shards}")
    require_slurm()
    profile = read_profile(request.profile)
    asked = _absolute(request.evaluation)
    job = resolve(asked.inference)
    with open_run(asked, job.dataset_facts, command=command, now=now, progress=progress) as run:
        folder = run.folder.absolute()
        require_no_jobs(folder)
        needed = [job.dataset.annotations_path, job.dataset.images_dir]
        needed += [] if job.weights is None else [job.weights]
        require_shared(folder, needed, profile, notice=progress.notice)
        job = with_threads_of_run(job, folder)
        tasks = _tasks(job, folder, request.shards)
        submission = _submitted(request, asked, profile, tasks, run)
        write_text(folder / SUBMITTED, dumps(to_plain(submission), indent=2) + "\n")
        announce(run, f"submitted: {', '.join(submission.job_ids)}")
    return Submitted(folder=folder, submission=submission)


def scripts_of(request: SubmitRequest, now: datetime) -> list[str]:
    """The batch scripts of the array and of the last job, without submitting anything."""
    profile = read_profile(request.profile)
    evaluation = request.evaluation
    output = evaluation.output or runs_folder() / new_run_id(evaluation, now)
    folder = output.absolute() / JOBS
    gpus, name = min(profile.gpus_per_node, 1), f"harness-{output.name}"
    shards = script(profile, folder=folder, name=name, gpus=gpus, count=request.shards)
    last_gpus = gpus if request.rehearse_preemption else 0
    last = script(
        profile, folder=folder, name=f"{name}-scoring", gpus=last_gpus, count=1, after="ARRAY_ID"
    )
    return [shards, last]


def finish(folder: Path) -> None:
    """Merge and score a submitted run: what the last job does.

    Raises RunFailedError that names every shard with missing images, why, and its log.
    """
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
    """The record of a submitted run once its last job has ended; raises what ended it instead."""
    status = status_of(folder)
    with progress.task("infer", total=status.images, done=status.done, unit="img") as advance:
        idle = 0
        while idle < 2:  # a node that died is requeued a moment after its job has ended
            pause(QUESTION_PERIOD_S)
            before, status = status.done, status_of(folder)
            advance(status.done - before)
            idle = 0 if status.live else idle + 1
    failure = failure_of(folder, None)
    if failure is not None:
        raise failure
    if not (folder / RECORD).exists():
        raise _unfinished(folder, status)
    return read_record(folder)


def _absolute(request: EvalRequest) -> EvalRequest:
    """The request with paths that mean the same in any working folder."""
    asked = request.inference
    paths = {
        name: value.absolute()
        for name in ("annotations", "images", "root", "weights")
        if (value := getattr(asked, name)) is not None
    }
    return replace(request, inference=replace(asked, **paths))


def _tasks(job: Job, folder: Path, shards: int) -> list[ShardTask]:
    missing = missing_images(job, folder)
    devices = [job.request.device] * min(shards, max(1, len(missing)))
    return divided(job.request, folder, missing, devices)


def _submitted(
    request: SubmitRequest, asked: EvalRequest, profile: Profile, tasks: list[ShardTask], run: Run
) -> Submission:
    folder = tasks[0].folder
    jobs, name = folder / JOBS, f"harness-{run.run_id}"
    gpus = min(profile.gpus_per_node, 1)
    (folder / SHARDS).mkdir(exist_ok=True)
    parts = [_slurm_task(task, request.rehearse_preemption) for task in tasks]
    job_ids = submit(parts, profile, folder=jobs, name=name, gpus=gpus)
    array = job_ids[0].partition("_")[0]
    failure = failure_path(folder, None)
    last = SlurmTask(
        finish, Work(name="scoring", item=folder, log=failure.with_name("scoring.log")), failure
    )
    try:
        last_gpus = gpus if request.rehearse_preemption else 0
        (final_job,) = submit(
            [last], profile, folder=jobs, name=f"{name}-scoring", gpus=last_gpus, after=array
        )
    except HarnessError:
        cancel([array])
        raise
    return Submission(
        command=run.command,
        submitted_utc=run.begun.isoformat(timespec="seconds"),
        request=asked,
        profile=profile,
        shards=tuple(
            SubmittedShard(
                job_id=job_id,
                images=len(task.image_ids),
                images_before=new_images(shard_path(folder, task.number), 0)[0],
            )
            for job_id, task in zip(job_ids, tasks, strict=True)
        ),
        final_job=final_job,
        rehearsal=request.rehearse_preemption,
    )


def _slurm_task(task: ShardTask, rehearse: bool) -> SlurmTask[ShardTask]:
    log_path = shard_path(task.folder, task.number).with_suffix(".log")
    work = Work(name=f"shard {task.number:04d}", item=task, log=log_path)
    half = replace(task, image_ids=task.image_ids[: (len(task.image_ids) + 1) // 2])
    return SlurmTask(
        infer_shard,
        work,
        failure_path(task.folder, task.number),
        replace(work, item=half) if rehearse else None,
    )


def _collected(folder: Path, submission: Submission) -> list[ShardFacts]:
    """What the workers left, if every shard has all its images."""
    status = status_of(folder)
    if any(job.stage != "done" for job in status.jobs[:-1]):
        raise _unfinished(folder, status)
    return [read_facts(folder, number) for number in range(len(submission.shards))]


def _unfinished(folder: Path, status: RunStatus) -> HarnessError:
    """One error that says which shards lack images, why, and where their logs are."""
    *shards, last = status.jobs
    lacking = [(number, job) for number, job in enumerate(shards) if job.stage != "done"]
    if not lacking:
        text = f"the scoring job {last.job_id} ended without a result: {last.stage} {last.reason}"
        return RunFailedError(text.strip(), hint=f"log: {last.log}")
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
