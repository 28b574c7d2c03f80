"""``harness submit eval``: an evaluation as a SLURM array, merged and scored by a last job."""

from __future__ import annotations

import filecmp
import shlex
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from harness import api
from harness.cluster.status import shard_is_done, status_of, unfinished
from harness.core.errors import HarnessError, RunFailedError, UsageError
from harness.core.progress import Progress
from harness.core.requests.cluster import SubmitEval
from harness.core.requests.inference import EvalRequest, ShareRequest
from harness.core.requests.signatures import keywords_of
from harness.core.run_files import PREDICTIONS, RECORD, RUN
from harness.core.settings import recorded, replaced
from harness.core.tasks import is_accuracy
from harness.files.json import to_plain
from harness.files.layout import runs_folder
from harness.launch.cluster_profile import Profile, read_profile
from harness.launch.local import Work
from harness.launch.shared_folders import require_below_shared, require_shared
from harness.launch.slurm import Size, log_of, script, submit
from harness.launch.slurm_programs import cancel, node_hosts, require_slurm
from harness.launch.slurm_tasks import PartTask
from harness.workflows.evaluation.resolve import Job, resolve
from harness.workflows.evaluation.workers import (
    WORKER_THREADS,
    ShardTask,
    divided,
    missing_batches,
    with_threads_of_run,
)
from harness.workflows.runs.files import absolute, new_run_id, require_own_model
from harness.workflows.runs.folder import Run, continuing, log, open_run, read_record
from harness.workflows.runs.shards import finished_images, shard_path
from harness.workflows.runs.submissions import (
    JOBS,
    UNDISTURBED,
    Submission,
    SubmittedShard,
    failure_path,
    final_log,
    forget_failures,
    is_finished,
    read_submission,
    require_no_jobs,
    require_sbatch_name,
    write_preemption_test,
    write_submission,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A submitted run."""

    folder: Path
    """Run folder."""

    submission: Submission
    """Its jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPart:
    """What one task of the array does."""

    request: EvalRequest
    """The run, with the device and threads of the task."""

    number: int
    """Number of the shard, from 0."""

    shards: int
    """How many there are."""

    image_ids: tuple[int, ...]
    """Ids of the images to infer."""

    again: tuple[str, ...]
    """The command that continues the run after a failure."""


def submit_evaluation(
    request: SubmitEval,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
) -> Submitted:
    """Submit the array and the last job; returns as soon as SLURM has taken them.

    Everything that can be proven here is: data, weights, profile, and that nodes see the folder.
    """
    _require_shards(request)
    require_slurm()
    profile = read_profile(request.cluster)
    asked = absolute(request.work)
    require_own_model(asked)
    job = resolve(asked.inference)
    with open_run(
        asked, job.dataset_facts, job.checkpoint, command=command, now=now, progress=progress
    ) as run:
        folder = run.folder.absolute()
        require_sbatch_name(folder)
        require_no_jobs(folder)
        require_shared(folder, job.places, profile, nodes=node_hosts(), notice=progress.notice)
        job = with_threads_of_run(job, folder)
        tasks = shard_tasks(job, folder, request.shards, gpus=profile.gpus_per_node)
        submission = _submitted(request, asked, profile, tasks, run)
        write_submission(folder, submission)
        log(run, f"submitted: {', '.join(submission.job_ids)}")
    return Submitted(folder=folder, submission=submission)


def scripts_of(request: SubmitEval, now: datetime) -> list[str]:
    """The batch scripts of the array and of the last job, without submitting anything."""
    _require_shards(request)
    profile = read_profile(request.cluster)
    evaluation = request.work
    output = evaluation.output or runs_folder() / new_run_id(evaluation, now)
    require_below_shared(profile, [output.absolute()])
    folder = output.absolute() / JOBS
    gpus, name = min(profile.gpus_per_node, 1), f"harness-{output.name}"
    size = Size(gpus=gpus)
    shards = script(profile, folder=folder, name=name, size=size, count=request.shards)
    size = size if request.test_preemption else Size()
    last = script(
        profile, folder=folder, name=f"{name}-scoring", size=size, count=1, after="ARRAY_ID"
    )
    return [shards, last]


def _require_shards(request: SubmitEval) -> None:
    if request.shards < 1:
        raise UsageError(f"--shards must be at least 1, got {request.shards}")


def shard_tasks(job: Job, folder: Path, shards: int, *, gpus: int) -> list[ShardTask]:
    """A task a shard, no more than there are batches with missing images.

    Args:
        gpus: GPUs of each task; with one, ``auto`` means it, and a node that lacks it is an error
            rather than a night on its CPU.
    """
    missing = missing_batches(job, folder)
    device = "cuda" if gpus and job.request.options.device == "auto" else job.request.options.device
    return divided(job.request, folder, missing, [device] * min(shards, max(1, len(missing))))


def _submitted(
    request: SubmitEval,
    asked: EvalRequest,
    profile: Profile,
    tasks: list[ShardTask],
    run: Run,
) -> Submission:
    folder = tasks[0].folder
    jobs, name = folder / JOBS, f"harness-{run.run_id}"
    size = Size(gpus=min(profile.gpus_per_node, 1))
    before = [len(finished_images([shard_path(folder, task.number)])) for task in tasks]
    again = tuple(shlex.split(continuing(run.command, folder)))
    shared = [_shared(task, asked, len(tasks), again) for task in tasks]
    parts = [_slurm_task(folder, part, preempted=request.test_preemption) for part in shared]
    forget_failures(folder)  # of an earlier submission
    job_ids = submit(parts, profile, folder=jobs, name=name, size=size)
    array = job_ids[0].partition("_")[0]
    work = Work(name="scoring", item=folder, log=final_log(folder))
    last = PartTask(finish, work, failure_path(folder, None))
    try:
        size = size if request.test_preemption else Size()
        (final_job,) = submit(
            [last], profile, folder=jobs, name=f"{name}-scoring", size=size, after=array
        )
    except HarnessError as error:  # no array without a job that reports how it ended
        cancel([array])
        stopped = f"the array of jobs {array} was reported to stop; see that it did: squeue --me"
        hint = stopped if error.hint is None else f"{stopped}\n  {error.hint}"
        raise type(error)(error.message, hint=hint) from error
    except BaseException:  # Ctrl-C as well
        cancel([array])
        raise
    return Submission(
        command=run.command,
        work="eval",
        submitted_utc=run.begun.isoformat(timespec="seconds"),
        evaluation=to_plain(recorded(asked)),
        profile=profile,
        shards=tuple(
            SubmittedShard(job_id=job_id, images=len(task.image_ids), images_before=images)
            for job_id, task, images in zip(job_ids, tasks, before, strict=True)
        ),
        final_job=final_job,
        preemption_test=request.test_preemption,
    )


def _shared(task: ShardTask, asked: EvalRequest, shards: int, again: tuple[str, ...]) -> SharedPart:
    return SharedPart(
        request=replace(asked, inference=task.request, output=task.folder, resume=False),
        number=task.number,
        shards=shards,
        image_ids=task.image_ids,
        again=again,
    )


def _slurm_task(folder: Path, part: SharedPart, *, preempted: bool) -> PartTask[SharedPart]:
    log_path = shard_path(folder, part.number).with_suffix(".log")
    work = Work(name=f"shard {part.number:04d}", item=part, log=log_path)
    half = replace(part, image_ids=part.image_ids[: (len(part.image_ids) + 1) // 2])
    return PartTask(
        infer_part,
        work,
        failure_path(folder, part.number),
        replace(work, item=half) if preempted else None,
    )


def infer_part(part: SharedPart) -> None:
    """Infer the images of a part that its shard lacks, on a node, which proves the job again."""
    settings = keywords_of("evaluate_share", ShareRequest(evaluation=part.request))
    share = f"{part.number + 1}/{part.shards}"
    api.evaluate_share(share, image_ids=part.image_ids, command=part.again, **settings)


def finish(folder: Path) -> None:
    """Merge and score a submitted run: what the last job does. Requeued, it does what is left.

    Raises:
        RunFailedError: Images are missing; names every such shard, the reason and its log.
    """
    submission = read_submission(folder)
    if not (folder / RECORD).exists():
        if not all(shard_is_done(folder, *one) for one in enumerate(submission.shards)):
            error = unfinished(folder, status_of(folder))
            again = continuing(submission.command, folder)
            hint = f"finished images are kept; continue with: {again}"
            raise type(error)(error.message, hint=hint)
        request = replace(submission.request, output=folder, resume=True)
        api.evaluate(**keywords_of("evaluate", request), command=submission.command)
    if submission.preemption_test and not is_finished(folder, submission):
        _require_undisturbed(folder, submission)


def _require_undisturbed(folder: Path, submission: Submission) -> None:
    """Evaluate once more without an interruption; RunFailedError unless all bytes are the same."""
    asked = submission.request.inference
    unhit = folder / UNDISTURBED
    if not (unhit / RECORD).exists():
        undisturbed = EvalRequest(
            inference=replaced(asked, threads=asked.options.threads or WORKER_THREADS),
            output=unhit,
            resume=(unhit / RUN).exists(),
        )
        api.evaluate(**keywords_of("evaluate", undisturbed), command=submission.command)
    same = filecmp.cmp(folder / PREDICTIONS, unhit / PREDICTIONS, shallow=False)
    if not same or _accuracy(folder) != _accuracy(unhit):
        raise RunFailedError(
            f"the preemption test gave other predictions than an undisturbed run in {unhit}",
            hint=f"logs of the interrupted jobs: {log_of(folder / JOBS, '*')}",
        )
    write_preemption_test(
        folder, "every task was preempted; predictions and metrics are the undisturbed ones"
    )


def _accuracy(folder: Path) -> dict[str, float | None]:
    metrics = read_record(folder).metrics
    return {name: value for name, value in metrics.items() if is_accuracy(name)}
