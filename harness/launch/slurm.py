"""Jobs for SLURM through submitit: their scripts, and how they are submitted.

submitit writes the batch script and the pickles, starts the function on the node and requeues it
(``launch.slurm_tasks``). The state of a job is never read from submitit but from SLURM's own
programs (``launch.slurm_programs``).
"""

from __future__ import annotations

import io
import re
import shlex
import uuid
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError, UsageError
from harness.core.printable import shown
from harness.launch.cluster_profile import Profile
from harness.launch.slurm_tasks import GroupTask, PartTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The resources of one job."""

    nodes: int = 1
    """How many."""

    tasks: int = 1
    """Processes on each node."""

    gpus: int = 0
    """On each node."""


def submit(
    tasks: Sequence[PartTask[Any] | GroupTask[Any]],
    profile: Profile,
    *,
    folder: Path,
    name: str,
    size: Size,
    after: str | None = None,
) -> list[str]:
    """Submit tasks, as one array where there are several; their job ids in order.

    Args:
        tasks: At least one.
        profile: Profile of the cluster.
        folder: For scripts, pickles and logs; seen by all nodes.
        name: Name of the job, as squeue shows it.
        size: Size of each job.
        after: A job that must have ended, whatever its result.

    Raises:
        PrerequisiteError: SLURM's controller does not answer.
        UsageError: sbatch refuses the job; with its reason.
        RunFailedError: sbatch prints no job's number; what it prints is quoted.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = _executor(profile, folder, name=name, size=size, after=after)
    try:
        # submitit prints what sbatch said as well.
        with redirect_stderr(io.StringIO()), executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except FailedJobError as error:
        raise _refused(str(error), profile) from error
    except FailedSubmissionError as error:
        raise RunFailedError(
            f"sbatch returned no number of a job: {shown(str(error), 200)}",
            hint="the job may have been submitted all the same; look at: squeue --me, and stop it "
            "with: scancel",
        ) from error
    return [job.job_id for job in jobs]


def job_number(answer: str) -> str:
    """The number of a job in what sbatch prints, in words or with --parsable.

    Raises:
        FailedSubmissionError: Holds the answer where there is no number in it.
    """
    from submitit.core.utils import FailedSubmissionError

    found = re.search(r"\bjob (\d+)\b", answer) or re.match(r"\s*(\d+)(;\S*)?\s*$", answer)
    if found is None:
        raise FailedSubmissionError(answer)
    return found[1]


def script(
    profile: Profile, *, folder: Path, name: str, size: Size, count: int, after: str | None = None
) -> str:
    """The batch script that ``submit`` would give to sbatch.

    Args:
        profile: Profile of the cluster.
        folder: For scripts, pickles and logs.
        name: Name of the job.
        size: Size of each job.
        count: How many tasks; several are an array.
        after: A job that must have ended.
    """
    executor = _executor(profile, folder, name=name, size=size, after=after)
    if count > 1:
        executor.parameters["map_count"] = count
    text: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return text


def log_of(folder: Path, job_id: str, rank: int = 0) -> Path:
    """The file of a job's output.

    Args:
        folder: That the job was submitted with.
        job_id: Id of a job, or of a task of an array (``12_3``).
        rank: Rank of the process in its job.
    """
    return folder / f"{job_id}_{rank}_log.out"


def _executor_class() -> Any:
    from submitit import SlurmExecutor

    class Executor(SlurmExecutor):
        """Writes its script also where there is no SLURM; reads a job's number in every form."""

        @classmethod
        def affinity(cls) -> int:
            return 1

        @staticmethod
        def _get_job_id_from_submission_command(string: bytes | str) -> str:
            return job_number(
                string if isinstance(string, str) else string.decode(errors="replace")
            )

        def _internal_process_submissions(self, delayed_submissions: list[Any]) -> list[Any]:
            # The library submits an array through an executor of its own class, which would read
            # sbatch's answer in one form only. This one submits for itself; it is used once.
            count = len(delayed_submissions)
            if count == 1:
                return list(super()._internal_process_submissions(delayed_submissions))
            self.parameters["map_count"] = count
            pickles = [self._pickled(delayed) for delayed in delayed_submissions]
            array = self._submit_command(self._submitit_command_str).job_id
            jobs = [self.job_class(folder=self.folder, job_id=f"{array}_{n}") for n in range(count)]
            for job, pickled in zip(jobs, pickles, strict=True):
                job.paths.move_temporary_file(pickled, "submitted_pickle")
            return jobs

        def _pickled(self, delayed: Any) -> Path:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{uuid.uuid4().hex}.pkl"
            delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
            delayed.dump(path)
            return path

    return Executor


def _executor(profile: Profile, folder: Path, *, name: str, size: Size, after: str | None) -> Any:
    kind = _executor_class()
    executor = kind(folder, max_num_timeout=profile.max_timeouts, python=profile.python)
    asked = {
        "partition": profile.partition
        if size.gpus or not profile.cpu_partition
        else profile.cpu_partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "mem": _memory(profile, size),
        "gpus_per_node": size.gpus or None,
        "dependency": None if after is None else f"afterany:{after}",
    }
    executor.update_parameters(
        job_name=name,
        time=profile.time_min,
        nodes=size.nodes,
        ntasks_per_node=size.tasks,
        cpus_per_task=profile.cpus_per_task,
        array_parallelism=profile.jobs_at_once,
        signal_delay_s=profile.signal_delay_s,
        stderr_to_stdout=True,
        setup=_setup(profile, folder, size),
        srun_args=["--kill-on-bad-exit=1"],
        additional_parameters={"requeue": True, **(profile.options or {})},
        **{key: value for key, value in asked.items() if value is not None},
    )
    return executor


def _memory(profile: Profile, size: Size) -> str | None:
    """Of a node, as SLURM asks for it: the profile's is of a task."""
    if profile.memory_gb is None:
        return None
    return f"{round(profile.memory_gb * 1024) * size.tasks}MB"


def _setup(profile: Profile, folder: Path, size: Size) -> list[str]:
    """The profile's lines, and a probe: a folder a node does not see must not cost an hour.

    The batch script runs on the first node; srun takes what all of them need to each.
    """
    lines = list(profile.setup)
    each = "" if size.nodes == 1 else f"srun --nodes={size.nodes} --ntasks-per-node=1 "
    if profile.scratch is not None:
        # Double quotes: /scratch/$USER is what clusters have.
        scratch = '"' + str(profile.scratch).replace('"', '\\"') + '"'
        lines += [f"{each}mkdir -p {scratch} && export TMPDIR={scratch}"]
    return [*lines, f"{each}test -d {shlex.quote(str(folder))} || exit 3"]


def _refused(said: str, profile: Profile) -> HarnessError:
    words = [line for line in said.splitlines() if "error" in line.lower()] or [said.strip()]
    text = "; ".join(line.removeprefix("sbatch: ") for line in words)
    if "Unable to contact" in said or "Connection refused" in said:
        return PrerequisiteError(
            f"SLURM's controller does not answer: {text}", hint="look at: scontrol ping"
        )
    return UsageError(
        f"sbatch refuses the job: {text}",
        hint=f"check partition ({profile.partition or 'default'}), account, time and sizes in the "
        "profile; what there is: sinfo",
    )
