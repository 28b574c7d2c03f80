"""SLURM through submitit: what is submitted, and what runs on the node.

submitit writes the batch script and the pickles, starts the function on the node and requeues it.
What becomes of a job is never asked through submitit but from SLURM's own programs
(``launch.clients``).
"""

from __future__ import annotations

import io
import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.core.errors import HarnessError, PrerequisiteError, RunFailedError, UsageError
from harness.files.atomic import write_text
from harness.files.json import dumps
from harness.launch.clients import ask
from harness.launch.local import Work, run_workers
from harness.launch.profile import Profile

#: Seconds within which a signal that was asked for arrives.
SIGNAL_S = 120.0

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SlurmTask(Generic[Item]):
    """What submitit calls on the node: one part in a watched process, as on a single machine.

    Requeued as it is: what is finished lies in files. failure: where an error is left for those
    who ask later. rehearsal: a first half of the part, after which the first attempt has itself
    preempted.
    """

    function: Callable[[Item], None]
    part: Work[Item]
    failure: Path
    rehearsal: Work[Item] | None = None

    def __call__(self) -> None:
        self.failure.unlink(missing_ok=True)
        try:
            if self.rehearsal is not None and _restarts() == 0:
                self._run(self.rehearsal)
                _preempt_myself()
            self._run(self.part)
        except HarnessError as error:
            plain = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
            with suppress(OSError):  # the disk may be what failed
                write_text(self.failure, dumps(plain, indent=2) + "\n")
            raise

    def checkpoint(self) -> Any:
        """What the requeued job calls; submitit asks when SLURM's signal arrives."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self, part: Work[Item]) -> None:
        run_workers(self.function, [part], notice=_say, poll=lambda: None)


def submit(
    tasks: Sequence[SlurmTask[Any]],
    profile: Profile,
    *,
    folder: Path,
    name: str,
    gpus: int,
    after: str | None = None,
) -> list[str]:
    """Submit the tasks, as one array where there are several; their job ids in order.

    folder: for scripts, pickles and logs, seen by all nodes. gpus: of each task. after: a job that
    must have ended, however it ended. Raises UsageError with SLURM's own words when it refuses.
    """
    from submitit.core.utils import FailedJobError

    executor = _executor(profile, folder, name=name, gpus=gpus, after=after)
    try:
        # submitit prints what sbatch said as well.
        with redirect_stderr(io.StringIO()), executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except FailedJobError as error:
        raise _refused(str(error), profile) from error
    return [job.job_id for job in jobs]


def script(
    profile: Profile, *, folder: Path, name: str, gpus: int, count: int, after: str | None = None
) -> str:
    """The batch script that ``submit`` would hand to sbatch for ``count`` tasks."""
    executor = _executor(profile, folder, name=name, gpus=gpus, after=after)
    if count > 1:
        executor.parameters["map_count"] = count
    text: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return text


def log_of(folder: Path, job_id: str) -> Path:
    """Where the output of a job goes."""
    return folder / f"{job_id}_0_log.out"


def _executor(profile: Profile, folder: Path, *, name: str, gpus: int, after: str | None) -> Any:
    from submitit import SlurmExecutor

    class Executor(SlurmExecutor):
        """Writes its script also where there is no SLURM."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    executor = Executor(folder, max_num_timeout=profile.max_timeouts, python=profile.python)
    asked = {
        "partition": profile.partition
        if gpus or not profile.cpu_partition
        else profile.cpu_partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "mem": None if profile.memory_gb is None else f"{round(profile.memory_gb * 1024)}MB",
        "gpus_per_node": gpus or None,
        "dependency": None if after is None else f"afterany:{after}",
    }
    executor.update_parameters(
        job_name=name,
        time=profile.time_min,
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=profile.cpus_per_task,
        array_parallelism=profile.jobs_at_once,
        signal_delay_s=profile.signal_delay_s,
        stderr_to_stdout=True,
        setup=_setup(profile, folder),
        srun_args=["--kill-on-bad-exit=1"],
        additional_parameters={"requeue": True, **(profile.options or {})},
        **{key: value for key, value in asked.items() if value is not None},
    )
    return executor


def _setup(profile: Profile, folder: Path) -> list[str]:
    """The profile's lines, and a probe: a folder the node does not see must not cost an hour."""
    lines = list(profile.setup)
    if profile.scratch is not None:
        scratch = shlex.quote(str(profile.scratch))
        lines += [f"mkdir -p {scratch} && export TMPDIR={scratch}"]
    return [*lines, f"test -d {shlex.quote(str(folder))} || exit 3"]


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


def _restarts() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _preempt_myself() -> None:
    """Have SLURM send the signal it sends before it takes a job away; submitit then requeues."""
    _say("rehearsal: half is done, now this job has itself preempted")
    ask("scancel", "--signal=USR2", os.environ["SLURM_JOB_ID"])
    time.sleep(SIGNAL_S)  # cut short by the signal
    raise RunFailedError(
        f"SLURM did not deliver USR2 within {SIGNAL_S:.0f} s: a preempted job would be lost",
        hint="ask the cluster's administrators about signals and requeueing",
    )


def _say(text: str) -> None:
    """One line for the job's log."""
    with suppress(OSError):
        os.write(1, f"{text}\n".encode())
