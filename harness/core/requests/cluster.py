"""Work on a cluster, and every night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.core.requests.inference import BenchRequest, EvalRequest
from harness.core.requests.training import TrainRequest
from harness.core.settings import part, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRequest:
    """A night: everything of a matrix is measured and compared with the nights before."""

    group: ClassVar[str] = "the night"

    matrix: Path | None = setting(
        None, help="TOML file of what to measure", none="the embedded model"
    )
    root: Path = setting(
        Path("datasets"), help="folder of data sets and checkpoints", place="datasets"
    )
    results: Path = setting(
        Path("results"), help="folder of the history and the accepted numbers", place="results"
    )
    accept: bool = setting(False, help="propose tonight's numbers as the accepted ones", kept=False)
    resume: bool = setting(
        False, help="continue the newest night where it was interrupted", kept=False
    )


#: What all kinds of work say of the cluster.
_CLUSTER = "TOML file that describes the cluster, made from slurm/example.toml"
_DRY_RUN = "print the batch scripts, submit nothing"
_TEST_PREEMPTION = "have every job preempted when half is done, and compare with an undisturbed run"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitEval:
    """An evaluation as a job array of independent shards, and one scoring job."""

    group: ClassVar[str] = "the cluster"

    cluster: Path = setting(help=_CLUSTER, metavar="FILE", kept=False)
    shards: int = setting(8, help="tasks of the job array", metavar="N", minimum=1)
    dry_run: bool = setting(False, help=_DRY_RUN, kept=False)
    test_preemption: bool = setting(False, help=_TEST_PREEMPTION)
    work: EvalRequest = part(EvalRequest, without=("workers",), nested=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitBench:
    """A speed run on one device of the cluster."""

    group: ClassVar[str] = "the cluster"

    cluster: Path = setting(help=_CLUSTER, metavar="FILE", kept=False)
    dry_run: bool = setting(False, help=_DRY_RUN, kept=False)
    work: BenchRequest = part(BenchRequest, without=("profiling",), nested=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitTrain:
    """A training on one node or several."""

    group: ClassVar[str] = "the cluster"

    cluster: Path = setting(help=_CLUSTER, metavar="FILE", kept=False)
    nodes: int = setting(1, help="nodes that train together", metavar="N")
    tasks_per_node: int | None = setting(
        None, help="processes on each node, one device each", none="the GPUs of a node", metavar="N"
    )
    dry_run: bool = setting(False, help=_DRY_RUN, kept=False)
    test_preemption: bool = setting(False, help=_TEST_PREEMPTION)
    work: TrainRequest = part(TrainRequest, without=("processes", "dry_run"), nested=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitNight:
    """A night on one device of the cluster."""

    group: ClassVar[str] = "the cluster"

    cluster: Path = setting(help=_CLUSTER, metavar="FILE", kept=False)
    dry_run: bool = setting(False, help=_DRY_RUN, kept=False)
    work: NightRequest = part(NightRequest, without=("resume",), nested=True)
