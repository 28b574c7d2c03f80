"""What submitit calls on the node: one part of a run, or one process of a group.

Both are requeued as they are: what is finished is in files.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.core.errors import HarnessError, Interrupted, RunFailedError
from harness.files.atomic import write_text
from harness.files.json import dumps
from harness.launch.local import Work, run_workers
from harness.launch.slurm_programs import ask

#: Seconds within which a signal that was asked for arrives.
SIGNAL_S = 120.0

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PartTask(Generic[Item]):
    """One part in a watched process, as on a single machine."""

    function: Callable[[Item], None]
    """As for ``run_workers``."""

    part: Work[Item]
    """The whole part."""

    failure: Path
    """File to which an error is written for later commands."""

    preemption_test: Work[Item] | None = None
    """Of a preemption test: a first half of the part, after which the first attempt has itself
    preempted.
    """

    def __call__(self) -> None:
        self.failure.unlink(missing_ok=True)
        try:
            if self.preemption_test is not None and restarts() == 0:
                self._run(self.preemption_test)
                preempt_this_job()
                _wait_for_the_end()
            self._run(self.part)
        except HarnessError as error:
            _leave(error, self.failure)
            raise

    def checkpoint(self) -> Any:
        """The call of the requeued job; submitit asks for it when SLURM's signal arrives."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self, part: Work[Item]) -> None:
        run_workers(self.function, [part], notice=say, poll=lambda: None)


@dataclass(frozen=True, slots=True)
class GroupTask(Generic[Item]):
    """One of the processes of a job that work together by torch.distributed."""

    function: Callable[[Item], None]
    """Called with the item in each process, with the environment variables that torchrun would set;
    signalled to stop by SLURM, it raises Interrupted, and continues in the requeued job.
    """

    item: Item
    """The same for all processes."""

    failure: Path
    """File to which an error is written for later commands."""

    def __call__(self) -> None:
        from submitit.helpers import TorchDistributedEnvironment

        # The devices are SLURM's to name: the first of a job need not be the node's first.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        first = os.environ["RANK"] == "0"
        if first:
            self.failure.unlink(missing_ok=True)
        try:
            self.function(self.item)
        except Interrupted:
            if first:
                os.kill(os.getpid(), signal.SIGUSR2)  # submitit's again: it requeues the job
            _wait_for_the_end()
        except HarnessError as error:
            _leave(error, self.failure)
            raise

    def checkpoint(self) -> Any:
        """The call of the requeued job, as for a single part."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def restarts() -> int:
    """How often SLURM has requeued this job; 0 outside a job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def preempt_this_job() -> None:
    """Have SLURM send the signal it sends before it preempts a job; the job is then requeued."""
    say("preemption test: half is done, now this job has itself preempted")
    ask("scancel", "--signal=USR2", str(this_job()))


def this_job() -> str | None:
    """The id by which SLURM knows this job alone; None outside a job.

    SLURM_JOB_ID is not enough: in one task of an array it is the id of the whole array.
    """
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return os.environ.get("SLURM_JOB_ID") if array is None else f"{array}_{task}"


def _wait_for_the_end() -> None:
    """Wait until a signal, or SLURM, ends this process."""
    time.sleep(SIGNAL_S)
    raise RunFailedError(
        f"SLURM did not deliver USR2, or did not requeue the job, within {SIGNAL_S:.0f} s",
        hint="a preempted job would be lost: ask the cluster's administrators about signals and "
        "requeueing",
    )


def _leave(error: HarnessError, path: Path) -> None:
    plain = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    with suppress(OSError):  # the disk may be what failed
        write_text(path, dumps(plain, indent=2) + "\n")


def say(text: str) -> None:
    """Print one line into the job's log."""
    with suppress(OSError):
        os.write(1, f"{text}\n".encode())
