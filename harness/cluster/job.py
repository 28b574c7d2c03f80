"""``harness submit bench|nightly|train``: one job that does the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from harness.cluster.on_node import (
    BenchWork,
    NightWork,
    TrainWork,
    bench_on_node,
    night_on_node,
    train_on_node,
)
from harness.core.errors import PrerequisiteError, UsageError
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.requests.cluster import SubmitBench, SubmitNight, SubmitTrain
from harness.core.settings import check_settings, replaced
from harness.files.failures import unwritable
from harness.files.layout import runs_folder
from harness.launch.cluster_profile import read_profile
from harness.launch.local import Work
from harness.launch.shared_folders import require_below_shared, require_shared
from harness.launch.slurm import Size, script, submit
from harness.launch.slurm_programs import node_hosts, require_slurm
from harness.launch.slurm_tasks import GroupTask, PartTask
from harness.nightly.matrix import cells_of, inference_of, read_matrix
from harness.nightly.night import NIGHTS, new_night_id
from harness.workflows.benchmark.bench import check_values
from harness.workflows.evaluation.resolve import resolve
from harness.workflows.runs.files import absolute, has_checkpoint, new_run_id, require_no_run
from harness.workflows.runs.submissions import (
    JOBS,
    Submission,
    WorkKind,
    failure_path,
    final_log,
    require_no_jobs,
    require_sbatch_name,
    write_submission,
)
from harness.workflows.training.job import require_trainable, resolve_training
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock

Task = PartTask[BenchWork] | PartTask[NightWork] | GroupTask[TrainWork]


@dataclass(frozen=True, slots=True)
class Proven:
    """What a job needs, after it was checked."""

    paths: tuple[Path | None, ...]
    """Files and folders the job reads."""

    iterations: int = 0
    """Iterations of a training; 0 for other work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One job, ready to be submitted."""

    kind: WorkKind
    """The command that runs on the node."""

    folder: Path
    """Run folder."""

    size: Size
    """Nodes, tasks and GPUs."""

    task: Task
    """What is sent to the node."""

    prove: Callable[[], Proven]
    """Checks what the job needs; raises for what would fail on the node."""

    resume: bool = False
    """Whether an interrupted run continues."""

    preemption_test: bool = False
    """Whether preemption is tested."""

    @property
    def name(self) -> str:
        return f"harness-{self.folder.name}"


def plan_bench(request: SubmitBench, *, command: tuple[str, ...], now: datetime) -> Planned:
    """A bench on one device."""
    size = Size(gpus=min(read_profile(request.cluster).gpus_per_node, 1))
    asked = absolute(request.work)
    asked = replaced(asked, device=_device(asked.inference.options.device, size))
    folder = asked.output or (runs_folder() / new_run_id(asked, now)).absolute()
    asked = replace(asked, output=folder)
    work = BenchWork(request=asked, command=command, submitted=now)

    def prove() -> Proven:
        check_values(asked)
        return Proven(resolve(asked.inference).places)

    part = Work(name="bench", item=work, log=final_log(folder))
    task = PartTask(bench_on_node, part, failure_path(folder, None))
    return Planned(kind="bench", folder=folder, size=size, task=task, prove=prove)


def plan_night(request: SubmitNight, *, now: datetime) -> Planned:
    """A night on one device; its folder is that of its reports."""
    size = Size(gpus=min(read_profile(request.cluster).gpus_per_node, 1))
    asked = absolute(request.work)
    night_id = new_night_id(asked.results, now)
    folder = asked.results / NIGHTS / night_id
    work = NightWork(request=asked, night_id=night_id, needs_gpu=size.gpus > 0, submitted=now)

    def prove() -> Proven:
        paths: list[Path | None] = [asked.matrix]
        for cell in cells_of(read_matrix(asked.matrix)):
            paths += resolve(inference_of(cell, asked.root)).places
        return Proven(tuple(paths))

    part = Work(name="night", item=work, log=final_log(folder))
    task = PartTask(night_on_node, part, failure_path(folder, None))
    return Planned(kind="nightly", folder=folder, size=size, task=task, prove=prove)


def plan_training(request: SubmitTrain, *, command: tuple[str, ...], now: datetime) -> Planned:
    """A training by ``nodes`` × ``tasks_per_node`` processes, on a device each.

    Raises:
        UsageError: An invalid argument, or a network that is not trained.
    """
    check_settings(request.work)
    published = architecture_of(find_model(read_lock(), request.work.network.model).architecture)
    # What is missing here need not be missing on a node, and is no matter of a dry run.
    with suppress(PrerequisiteError):
        require_trainable(request.work, published)
    gpus = read_profile(request.cluster).gpus_per_node
    tasks = request.tasks_per_node or max(1, gpus)
    for option, value in (("--nodes", request.nodes), ("--tasks-per-node", tasks)):
        if value < 1:
            raise UsageError(f"{option} must be at least 1, got {value}")
    if gpus and tasks > gpus:
        raise UsageError(
            f"--tasks-per-node {tasks}: the profile's nodes have {counted(gpus, 'GPU')}"
        )
    size = Size(nodes=request.nodes, tasks=tasks, gpus=min(gpus, tasks))
    asked = absolute(request.work)
    init = asked.initial.init
    if Path(init).is_file():
        asked = replaced(asked, init=str(Path(init).absolute()))
    asked = replaced(asked, device=_device(asked.runtime.device, size))
    folder = asked.output or (runs_folder() / new_run_id(asked, now)).absolute()

    def prove() -> Proven:
        # As one machine's training by as many processes: batch and engine must bear them.
        job = resolve_training(replaced(asked, processes=size.nodes * size.tasks))
        return Proven((*job.places, asked.reference_curve), job.plan.schedule.iterations)

    work = TrainWork(
        request=asked,
        output=folder,
        command=command,
        submitted=now,
        preemption_test=request.test_preemption,
    )
    return Planned(
        kind="train",
        folder=folder,
        size=size,
        task=GroupTask(train_on_node, work, failure_path(folder, None)),
        prove=prove,
        resume=asked.resume,
        preemption_test=request.test_preemption,
    )


def submit_planned(
    planned: Planned,
    profile_path: Path,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
) -> Submission:
    """Submit the job; returns as soon as SLURM has taken it.

    Everything that can be proven here is: data, weights, profile, and that nodes see the folder.
    """
    require_slurm()
    profile = read_profile(profile_path)
    folder = planned.folder
    require_sbatch_name(folder)
    proven = planned.prove()
    needed = [path for path in proven.paths if path is not None]
    _claim(folder, resume=planned.resume)
    require_shared(folder, needed, profile, nodes=node_hosts(), notice=progress.notice)
    failure_path(folder, None).unlink(missing_ok=True)  # of an earlier submission
    (job_id,) = submit(
        [planned.task], profile, folder=folder / JOBS, name=planned.name, size=planned.size
    )
    submission = Submission(
        work=planned.kind,
        command=command,
        submitted_utc=now.isoformat(timespec="seconds"),
        profile=profile,
        final_job=job_id,
        processes=planned.size.nodes * planned.size.tasks,
        iterations=proven.iterations,
        preemption_test=planned.preemption_test,
    )
    write_submission(folder, submission)
    return submission


def script_of(planned: Planned, profile_path: Path) -> str:
    """The batch script of the job, without submitting anything."""
    profile = read_profile(profile_path)
    require_below_shared(profile, [planned.folder])
    return script(
        profile,
        folder=planned.folder / JOBS,
        name=planned.name,
        size=planned.size,
        count=1,
    )


def _device(asked: str, size: Size) -> str:
    """With GPUs asked for, ``auto`` means one: a node that lacks it is an error."""
    return "cuda" if size.gpus and asked == "auto" else asked


def _claim(folder: Path, *, resume: bool) -> None:
    """The folder is there, and what is in it may be begun, or continued."""
    if not resume:
        require_no_run(folder)
    elif not has_checkpoint(folder):
        raise UsageError(f"nothing to resume: no checkpoint in {folder}", hint="leave out --resume")
    require_no_jobs(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
