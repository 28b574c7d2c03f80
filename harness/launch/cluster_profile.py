"""A cluster's profile: what its jobs ask for, written once in a TOML file."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.files.json import to_typed
from harness.files.toml import read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A file ``slurm/*.toml``, whose fields slurm/README.md lists. None: the cluster decides."""

    partition: str | None = None
    """Where jobs run."""

    cpu_partition: str | None = None
    """Where jobs run that ask for no GPU; None: in ``partition``."""

    account: str | None = None
    """As in sbatch."""

    qos: str | None = None
    """As in sbatch."""

    constraint: str | None = None
    """As in sbatch."""

    time_min: int = 60
    """Time limit of a job, in minutes."""

    gpus_per_node: int = 0
    """GPUs a node has; 0 for work on CPUs."""

    cpus_per_task: int = 2
    """Cores of a task."""

    memory_gb: float | None = None
    """Memory of one task, in GiB."""

    jobs_at_once: int = 256
    """Tasks of an array that run at the same time."""

    signal_delay_s: int = 120
    """Seconds before the time limit at which a task is signalled to stop."""

    max_timeouts: int = 10
    """How often a task may run into its time limit."""

    setup: tuple[str, ...] = ()
    """Shell lines before the work."""

    python: str | None = None
    """Command instead of this Python."""

    scratch: Path | None = None
    """Folder of the node for temporary files; may name variables, as ``/scratch/$USER``."""

    shared: tuple[Path, ...] = ()
    """Folders that every node sees at the same path; empty: only the kind of file system is
    checked.
    """

    options: dict[str, str | int | bool] | None = None
    """Further long options of sbatch; they overrule the rest."""


def read_profile(path: Path) -> Profile:
    """The validated profile of a cluster.

    Raises:
        UsageError: The file cannot be read, or a field is unknown, of a wrong type or out of range.
    """
    if not path.exists():
        raise UsageError(f"no such profile: {path}", hint=_START)
    plain = read_table(path, what="profile")
    _require_known(path, plain)
    try:
        profile = to_typed(Profile, plain, where=str(path))
    except IntegrityError as error:
        raise UsageError(error.message, hint=_FIELDS) from error
    _require_ranges(path, profile)
    return profile


_START = "start from slurm/example.toml"
_FIELDS = "slurm/README.md explains the fields"


def _require_known(path: Path, plain: dict[str, Any]) -> None:
    known = [field.name for field in fields(Profile)]
    unknown = []
    for name in plain:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            unknown.append(f"{name}" + (f" (did you mean {near[0]}?)" if near else ""))
    if unknown:
        raise UsageError(f"{path} has unknown fields: {', '.join(unknown)}", hint=_FIELDS)


def _require_ranges(path: Path, profile: Profile) -> None:
    lowest = {
        "time_min": 1,
        "gpus_per_node": 0,
        "cpus_per_task": 1,
        "jobs_at_once": 1,
        "signal_delay_s": 1,
        "max_timeouts": 0,
    }
    for name, least in lowest.items():
        value = getattr(profile, name)
        if value < least:
            raise UsageError(f"{path}: {name} must be at least {least}, got {value}", hint=_FIELDS)
    if profile.memory_gb is not None and not 0 < profile.memory_gb < float("inf"):
        raise UsageError(f"{path}: memory_gb must be above 0, got {profile.memory_gb}")
    for name in profile.options or {}:
        if not re.fullmatch(r"[a-z][a-z-]*", name):
            raise UsageError(
                f"{path}: options.{name} is not a long option of sbatch",
                hint='write it as sbatch does, without its dashes: options = { qos = "high" }',
            )
