"""A training in one process, or in several on one or more machines, that share every batch."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import torch

from harness.core.errors import HarnessError, RunFailedError
from harness.core.progress import Progress, Silent
from harness.engines.devices import (
    apply_precision,
    apply_threads,
    find_device,
    gpu_count,
    keep_freed_memory,
    usable_threads,
)
from harness.files.failures import failure_of
from harness.launch.local import end_with_parent
from harness.launch.server import program_left_out
from harness.training.log import Best
from harness.training.processes import World, join, leave
from harness.training.run import Evaluate, run_training
from harness.training.setup import Setup

#: Seconds the other processes get to end by themselves after one has failed.
GRACE_S = 30.0


def train_here(setup: Setup, *, progress: Progress, evaluate: Evaluate) -> Best:
    """Run the whole training in this process.

    Args:
        setup: Setup of the training.
        progress: Shows iterations and receives notices.
        evaluate: Evaluates weights.

    Returns:
        The best evaluation.

    Raises:
        Interrupted: After a checkpoint, on a signal.
        RunFailedError: A loss is not finite, or memory ran out.
    """
    device = prepared_device(setup, World())
    return run_training(setup, device, World(), progress=progress, evaluate=evaluate)


def train_in_processes(
    setup: Setup, count: int, *, progress: Callable[[], Progress], evaluate: Evaluate
) -> None:
    """Run the training in new processes, one device each.

    Signals that stop a training are passed on to the processes.

    Args:
        setup: Setup of the training.
        count: Number of processes.
        progress: Creates the progress of the first process, in that process.
        evaluate: Evaluates weights, in the first process; it is pickled, as is ``progress``.

    Raises:
        HarnessError: The first error of any process, after all have ended.
    """
    context = multiprocessing.get_context("spawn")
    needs_program = b"__main__" in pickle.dumps(progress)
    address = f"tcp://127.0.0.1:{_free_port()}"
    processes: list[SpawnProcess] = []
    answers: list[Connection] = []
    with _passing_on_signals(processes), _ended(processes):
        for rank in range(count):
            receiving, sending = context.Pipe(duplex=False)
            # The evaluation has data that only the first process needs.
            scoring: Evaluate = evaluate if rank == 0 else _ByFirst()
            process = context.Process(
                target=_member,
                args=(setup, World(rank, count), address),
                kwargs={"progress": progress, "evaluate": scoring, "answer": sending},
            )
            # What shows progress may be of the user's own, from there.
            with nullcontext() if needs_program else program_left_out():
                process.start()
            processes.append(process)
            answers.append(receiving)
            sending.close()
        errors = _outcomes(answers)
        for process in processes:
            process.join(GRACE_S if errors else None)
    if errors:
        raise errors[0]


#: Variables in which a launcher (torchrun, submitit) gives a process its rank.
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> World | None:
    """Return the rank a launcher gave this process; None when there is no launcher."""
    if not all(name in os.environ for name in PLACE):
        return None
    return World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def train_launched(setup: Setup, world: World, *, progress: Progress, evaluate: Evaluate) -> None:
    """Run the share of this process in a training that a launcher started, perhaps on several
    nodes.

    Args:
        setup: Setup of the training.
        world: As ``launched`` returns it.
        progress: Shows iterations and receives notices.
        evaluate: Evaluates weights; called in the first process only.

    Raises:
        Interrupted: After a checkpoint, on a signal.
        RunFailedError: A loss is not finite, or memory ran out.
    """
    local = World(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    device = prepared_device(setup, local)
    joined = join(world.rank, world.size, device, "env://")
    run_training(setup, device, joined, progress=progress, evaluate=evaluate)
    leave()


class _ByFirst:
    """Takes the place of the evaluation in all processes but the first."""

    def __call__(
        self, weights: Path, iteration: int, notice: Callable[[str], None]
    ) -> dict[str, float]:
        raise AssertionError(f"{weights} of iteration {iteration} is evaluated by the first")

    def before(self, weights: Path, notice: Callable[[str], None]) -> None:
        raise AssertionError(f"{weights} is looked at by the first process")


def _member(
    setup: Setup,
    world: World,
    address: str,
    *,
    progress: Callable[[], Progress],
    evaluate: Evaluate,
    answer: Connection,
) -> None:
    """Run one process of a training.

    Args:
        answer: Receives None at the end, or the error.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's reach the parent, which passes on
        signal.signal(number, signal.SIG_IGN)
    # Nothing holds the run any more then, and another training may continue it.
    end_with_parent(signal.SIGKILL)
    try:
        device = prepared_device(setup, world)
        joined = join(world.rank, world.size, device, address)
        shown = progress() if world.is_first else Silent()
        run_training(setup, device, joined, progress=shown, evaluate=evaluate)
        leave()
        answer.send(None)
    except HarnessError as error:
        answer.send(error)
    except OSError as error:
        answer.send(
            RunFailedError(
                f"training process {world.rank} failed: "
                f"{error.filename or setup.folder}: {error.strerror or error}"
            )
        )
    except BaseException as error:
        if failure := failure_of(error):
            answer.send(failure)
            return
        text = "".join(traceback.format_exception(error)[-3:])
        answer.send(
            RunFailedError(f"training process {world.rank} failed: {type(error).__name__}\n{text}")
        )


def _outcomes(answers: list[Connection]) -> list[HarnessError]:
    """Return errors in the order they happened; after the first, only those that follow soon."""
    waiting = dict(enumerate(answers))
    errors: list[HarnessError] = []
    while waiting:
        ready = wait(list(waiting.values()), GRACE_S if errors else None)
        if not ready:
            return errors
        for rank, connection in list(waiting.items()):
            if connection not in ready:
                continue
            del waiting[rank]
            try:
                error = connection.recv()
            except EOFError:
                error = RunFailedError(
                    f"training process {rank} exited without reporting an error",
                    hint="perhaps memory ran out; continue with --resume",
                )
            if error is not None:
                errors.append(error)
    return errors


@contextmanager
def _ended(processes: list[SpawnProcess]) -> Iterator[None]:
    """Leave no process behind the block, however it ends."""
    try:
        yield
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()


@contextmanager
def _passing_on_signals(processes: list[SpawnProcess]) -> Iterator[None]:
    """Pass signals that arrive during the block on to all processes."""

    def pass_on(number: int, _: FrameType | None) -> None:
        for process in processes:
            if process.is_alive() and process.pid is not None:
                # Ctrl-C as SIGTERM: the members ignore it, for a terminal sends it to all of them.
                os.kill(process.pid, signal.SIGTERM if number == signal.SIGINT else number)

    passed = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = {one: signal.signal(one, pass_on) for one in passed}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def prepared_device(setup: Setup, world: World) -> torch.device:
    """Return the device of this process, with precision and threads set.

    Args:
        setup: Setup of the training.
        world: This process among those of its machine; it chooses the GPU.

    Raises:
        HarnessError: There is no such device.
    """
    name = setup.config.runtime.device
    if world.size > 1 and (name == "cuda" or (name == "auto" and gpu_count() > 0)):
        name = f"cuda:{world.rank}"
    device = find_device(name)
    apply_precision(setup.config.runtime.precision, device)
    keep_freed_memory(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    apply_threads(setup.config.runtime.threads or usable_threads(world.size))
    return device


def _free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
