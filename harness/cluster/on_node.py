"""What the one job of ``harness submit bench|nightly|train`` does on its nodes.

Each function takes one picklable item, and returns at once where the result is there already: a
requeued job continues.
"""

from __future__ import annotations

import filecmp
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from signal import SIGTERM

from harness import api
from harness.core.errors import PrerequisiteError, RunFailedError
from harness.core.progress import Advance, Silent
from harness.core.requests.cluster import NightRequest
from harness.core.requests.inference import BenchRequest
from harness.core.requests.signatures import keywords_of
from harness.core.requests.training import TrainRequest
from harness.core.run_files import PAGE, RECORD
from harness.core.settings import replaced
from harness.engines.devices import gpu_count
from harness.launch.slurm_tasks import preempt_this_job, restarts, say
from harness.nightly.night import NIGHTS, REFERENCE, run_night
from harness.training.group import launched
from harness.training.weight_files import WEIGHTS_LAST
from harness.workflows.runs.files import has_checkpoint
from harness.workflows.runs.submissions import UNDISTURBED, write_preemption_test
from harness.workflows.training.job import resolve_training

#: Seconds in which a signal that was asked for usually arrives.
DELIVERY_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchWork:
    """A bench into ``request.output``."""

    request: BenchRequest
    """What is measured; its output is set."""

    command: tuple[str, ...]
    """Command line for the record."""

    submitted: datetime
    """Time of submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightWork:
    """A night into the folder ``night_id`` of the nights."""

    request: NightRequest
    """The matrix and its folders."""

    night_id: str
    """Name of the folder."""

    needs_gpu: bool
    """Whether a GPU was requested."""

    submitted: datetime
    """Time of submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainWork:
    """A training into ``output``, by all processes of the job."""

    request: TrainRequest
    """What is trained."""

    output: Path
    """Run folder."""

    command: tuple[str, ...]
    """Command line for the record."""

    submitted: datetime
    """Time of submission."""

    preemption_test: bool = False
    """Whether the job preempts itself at half of the iterations and trains once more undisturbed.
    """


def bench_on_node(work: BenchWork) -> None:
    """``harness bench``; from the beginning after an interruption: partial timings are not used."""
    output = work.request.output
    if output is None or not (output / RECORD).exists():
        api.benchmark(
            **keywords_of("benchmark", work.request),
            progress=InLog(),
            command=work.command,
            begun=work.submitted,
        )


def night_on_node(work: NightWork) -> None:
    """``harness nightly``; cells that were finished before an interruption are not done again."""
    if (work.request.results / NIGHTS / work.night_id / PAGE).exists():
        return
    if work.needs_gpu and not gpu_count():
        raise PrerequisiteError(
            "this node has no GPU that torch can use, and the job asked for one",
            hint="run harness doctor on the node, or set gpus_per_node = 0 in the profile",
        )
    *_, change = run_night(
        work.request, progress=InLog(), now=work.submitted, night_id=work.night_id
    )
    if change:
        say(f"proposed for {work.request.results / REFERENCE}; read it, then commit it:\n{change}")


def train_on_node(work: TrainWork) -> None:
    """The share of this process in a training; continues at the last checkpoint, if any."""
    if not work.preemption_test:
        _train(work.request, work)
        return
    exact = replaced(work.request, deterministic=True)
    half = _half_of(exact) if restarts() == 0 else None
    _train(exact, work, preempt_at=half)
    # The first group has met at this port, and may still hold it.
    os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    unhit = work.output / UNDISTURBED
    _train(exact, replace(work, output=unhit))
    if restarts() == 0:
        raise RunFailedError(
            "the preemption test ended before SLURM delivered the signal",
            hint="give it more --iterations",
        )
    if not filecmp.cmp(work.output / WEIGHTS_LAST, unhit / WEIGHTS_LAST, shallow=False):
        raise RunFailedError(
            f"the preemption test ended with other weights than an undisturbed training in {unhit}",
            hint="both ran with --deterministic; compare their metrics.json",
        )
    if os.environ["RANK"] == "0":
        write_preemption_test(
            work.output, "the job was preempted; the weights are the undisturbed ones"
        )


def _train(request: TrainRequest, work: TrainWork, *, preempt_at: int | None = None) -> None:
    if (work.output / RECORD).exists():
        return
    resume = has_checkpoint(work.output)
    settings = keywords_of("train", replace(request, output=work.output, resume=resume))
    # SLURM sends TERM to jobs that it may take away, and to those it will: not the end yet.
    settings["checkpoint_signals"] = (SIGTERM,)
    world = launched()
    if world is not None and not world.is_first:
        api.follow_training(**settings)
        return
    api.train(
        **settings,
        progress=InLog if preempt_at is None else lambda: _PreemptedAt(preempt_at),
        command=work.command,
        begun=work.submitted,
    )


def _half_of(request: TrainRequest) -> int:
    return (resolve_training(request).plan.schedule.iterations + 1) // 2


class InLog(Silent):
    """Notices go to the job's log; how far a task is, is read from the run's files."""

    def notice(self, text: str) -> None:
        """One line, at once."""
        say(text)


class _PreemptedAt(InLog):
    """Has the job preempted when so much of the training is done."""

    def __init__(self, iteration: int) -> None:
        self._left = iteration

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        """A task that is watched only for its count of iterations."""

        def advance(units: int, note: str = "") -> None:
            del note
            if title == "train" and units:
                self._left -= units
                if self._left == 0:
                    preempt_this_job()
                    time.sleep(DELIVERY_S)

        yield advance
