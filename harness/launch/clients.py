"""SLURM's own programs: what they are asked, and what their answers mean.

Whether a job is alive is squeue's to say: accounting lags behind, and calls a job failed that is
about to be requeued.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import PrerequisiteError

#: Seconds a program may take; one whose controller is down gives up after about 10.
PATIENCE_S = 60.0

#: Fields of squeue, and of sacct for jobs that squeue has forgotten.
LIVE_FIELDS = ("JobArrayID", "State", "Reason", "NodeList", "RestartCnt")
PAST_FIELDS = ("JobID", "State", "ExitCode", "NodeList")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What SLURM says of a job. live: it runs or will run. restarts: how often it was requeued."""

    state: str
    live: bool
    reason: str = ""
    node: str = ""
    restarts: int = 0


def require_slurm() -> None:
    """Raise PrerequisiteError where SLURM's clients are not installed."""
    missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
    if missing:
        raise PrerequisiteError(
            f"this machine has no {', '.join(missing)}",
            hint="submit from a login node of the cluster; to see the script: --dry-run",
        )


def states(job_ids: Sequence[str]) -> dict[str, JobState]:
    """What SLURM says of each job; UNKNOWN and not live where it says nothing."""
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
    """Jobs by id in what squeue answers, a line a job, in the order of LIVE_FIELDS."""
    found = {}
    for line in answer.splitlines():
        job_id, state, reason, node, restarts = (part.strip() for part in line.split("|")[:5])
        found[job_id] = JobState(
            state=state,
            live=True,
            reason="" if reason == "None" else reason,
            node=node,
            restarts=int(restarts),
        )
    return found


def read_past(answer: str) -> dict[str, JobState]:
    """Jobs by id in what sacct answers, a line an attempt; the last attempt counts."""
    found: dict[str, JobState] = {}
    for line in answer.splitlines():
        job_id, state, exit_code, node = line.split("|")[:4]
        earlier = found.get(job_id)
        found[job_id] = JobState(
            state=state.split()[0],  # "CANCELLED by 0"
            live=False,
            reason="" if exit_code == "0:0" else f"exit code {exit_code}",
            node=node,
            restarts=0 if earlier is None else earlier.restarts + 1,
        )
    return found


def ask(*words: str) -> str:
    """What a client says; nothing where it fails: jobs long gone are an error to squeue."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except FileNotFoundError:
        raise PrerequisiteError(
            f"this machine has no {words[0]}", hint="ask on a login node of the cluster"
        ) from None
    except subprocess.TimeoutExpired:
        raise PrerequisiteError(
            f"{words[0]} did not answer within {PATIENCE_S:.0f} s", hint="look at: scontrol ping"
        ) from None
    if "Unable to contact" in done.stderr:
        raise PrerequisiteError(
            f"SLURM's controller does not answer: {done.stderr.strip()}",
            hint="look at: scontrol ping",
        )
    return done.stdout
