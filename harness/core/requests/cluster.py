"""Work on a cluster, and every night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

Work = TypeVar("Work")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRequest:
    """A night.

    matrix: TOML file of what to measure; None for the embedded model. root: where data sets and
    checkpoints lie. results: folder of the history and the accepted numbers. accept: propose
    tonight's numbers as the accepted ones.
    """

    matrix: Path | None = None
    root: Path = Path("datasets")
    results: Path = Path("results")
    accept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest(Generic[Work]):
    """Work on a SLURM cluster.

    profile: the cluster's TOML file. shards: tasks of an evaluation's job array. nodes, and
    tasks_per_node (None: the profile's GPUs, at least one): of a training. dry_run: show the
    scripts, submit nothing. rehearse_preemption: the work has itself preempted when half is done,
    and the result is compared with that of work that was not.
    """

    work: Work
    profile: Path
    shards: int = 8
    nodes: int = 1
    tasks_per_node: int | None = None
    dry_run: bool = False
    rehearse_preemption: bool = False
