"""SLURM's own programs: the calls that are made, and how their output is read.

Whether a job is alive is taken from squeue: accounting lags behind, and calls a job failed that is
about to be requeued.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.core.errors import PrerequisiteError, RunFailedError
from harness.core.printable import shown

#: Seconds a program may take; one whose controller is down gives up after about 10.
PATIENCE_S = 60.0

#: Fields of squeue, and of sacct for jobs that squeue has forgotten.
LIVE_FIELDS = ("JobArrayID", "State", "Reason", "NodeList", "RestartCnt")
PAST_FIELDS = ("JobID", "State", "ExitCode", "NodeList")


#: What a field holds where SLURM has nothing to say.
NOTHING = ("", "N/A", "None", "(null)")

#: What squeue and sacct print of jobs they have forgotten, on whichever stream.
FORGOTTEN = "Invalid job id"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """The state of one job as SLURM reports it."""

    state: str
    """SLURM's word, such as ``RUNNING``; ``UNKNOWN`` where it reports nothing."""
    live: bool
    """It runs or will run."""
    reason: str = ""
    """Why it waits or has ended; empty where SLURM gives none."""
    node: str = ""
    """Where it runs or ran; empty before it started."""
    restarts: int = 0
    """How often it was requeued."""


def require_slurm() -> None:
    """Check that SLURM's clients are installed.

    Raises:
        PrerequisiteError: They are not.
    """
    missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
    if missing:
        raise PrerequisiteError(
            f"this machine has no {', '.join(missing)}",
            hint="submit from a login node of the cluster; to see the script: --dry-run",
        )


def states(job_ids: Sequence[str]) -> dict[str, JobState]:
    """The state of each job by its id; UNKNOWN and not live where SLURM reports nothing.

    Args:
        job_ids: Ids of jobs, or of tasks of arrays (``12_3``).

    Raises:
        PrerequisiteError: SLURM's programs or its controller are not there.
        RunFailedError: A program prints something that is not a list of jobs.
    """
    wanted = ",".join(sorted({job_id.partition("_")[0] for job_id in job_ids}))
    layout = ",".join(f"{field}:|" for field in LIVE_FIELDS)
    live = ask("squeue", "--noheader", "--array", f"--jobs={wanted}", f"--Format={layout}")
    layout = ",".join(PAST_FIELDS)
    past = ask("sacct", "-n", "-P", "-X", "-D", f"--jobs={wanted}", f"--format={layout}")
    found = {**read_past(past), **read_live(live)}
    unknown = JobState(state="UNKNOWN", live=False)
    return {job_id: found.get(job_id, unknown) for job_id in job_ids}


def node_hosts() -> set[str]:
    """Names of the machines that the cluster's nodes run on."""
    return set(ask("sinfo", "--noheader", "--Node", "--format=%n").split())


def cancel(job_ids: Sequence[str]) -> None:
    """Stop the jobs, running or queued."""
    ask("scancel", *job_ids)


def read_live(answer: str) -> dict[str, JobState]:
    """Jobs by id in squeue's output.

    Args:
        answer: A line a job, in the order of LIVE_FIELDS.

    Raises:
        RunFailedError: A line is of another kind; it is quoted.
    """
    found = {}
    for job_id, state, reason, node, restarts in _rows("squeue", answer, len(LIVE_FIELDS)):
        if restarts not in NOTHING and not restarts.isdecimal():
            raise _no_jobs("squeue", answer)
        found[job_id] = JobState(
            state=state,
            live=True,
            reason="" if reason in NOTHING else reason,
            node="" if node in NOTHING else node,
            restarts=0 if restarts in NOTHING else int(restarts),
        )
    return found


def read_past(answer: str) -> dict[str, JobState]:
    """Jobs by id in sacct's output; of several attempts the last one counts.

    Args:
        answer: A line an attempt, in the order of PAST_FIELDS.

    Raises:
        RunFailedError: A line is of another kind; it is quoted.
    """
    found: dict[str, JobState] = {}
    for job_id, state, exit_code, node in _rows("sacct", answer, len(PAST_FIELDS)):
        earlier = found.get(job_id)
        found[job_id] = JobState(
            state=state.split()[0],  # "CANCELLED by 0"
            live=False,
            reason="" if exit_code in ("0:0", *NOTHING) else f"exit code {exit_code}",
            node="" if node in NOTHING else node,
            restarts=0 if earlier is None else earlier.restarts + 1,
        )
    return found


def _rows(program: str, answer: str, count: int) -> Iterator[list[str]]:
    """The first ``count`` fields of each line; the first is a job id, the second a state."""
    for line in answer.splitlines():
        if not line.strip() or FORGOTTEN in line:
            continue
        fields = [part.strip() for part in line.split("|")[:count]]
        if len(fields) < count or not fields[0][:1].isdecimal() or fields[1] in NOTHING:
            raise _no_jobs(program, line)
        yield fields


def _no_jobs(program: str, answer: str) -> RunFailedError:
    return RunFailedError(
        f"{program} returned no list of jobs: {shown(answer, 200)}",
        hint=f"the run and its jobs are as they were; see what is wrong with {program}, then ask "
        "again",
    )


def ask(*words: str) -> str:
    """The output of a client; empty where it fails: jobs long gone are an error to squeue.

    Args:
        words: The program and its arguments.

    Raises:
        PrerequisiteError: The program cannot be started, takes too long, or cannot reach the
            controller.
    """
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_S,
        )
    except FileNotFoundError:
        raise PrerequisiteError(
            f"this machine has no {words[0]}", hint="ask on a login node of the cluster"
        ) from None
    except OSError as error:
        raise PrerequisiteError(f"{words[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise PrerequisiteError(
            f"{words[0]} did not answer within {PATIENCE_S:.0f} s", hint="look at: scontrol ping"
        ) from None
    said = f"{done.stderr}\n{done.stdout}"
    if "Unable to contact" in said:
        raise PrerequisiteError(
            f"SLURM's controller does not answer: {shown(said.strip(), 200)}",
            hint="look at: scontrol ping",
        )
    return done.stdout
