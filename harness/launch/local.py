"""Work in processes on this machine: each watched, restarted when it dies, stopped with the others.

A process shares nothing with its parent but the item it was given, and writes its output to a log
of its own. It is spawned, or a copy of one that has imported what it needs (``launch.server``).
What it computes goes to files; only "done" or an error come back. A process ends when the one that
started it has ended, however.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.core.errors import HarnessError, RunFailedError
from harness.core.printable import printable
from harness.files.atomic import open_to_append
from harness.files.failures import failure_of
from harness.launch.server import (
    SERVER_ERRORS,
    contexts_for,
    import_ahead,
    program_left_out,
    signals_blocked,
    take_environment,
)

#: How often a process is started before the run is given up.
ATTEMPTS = 3

#: Seconds between two looks at how far the processes are.
POLL_S = 0.2

#: Seconds a process has to stop in an orderly way.
GRACE_S = 10.0

#: Signals that reach every process of a terminal or of a SLURM job (where they say that the job may
#: be taken away, not that it must end); only the parent answers them.
FOR_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)

#: How a parent stops its processes.
STOP = signal.SIGUSR1
HELD_BACK = (*FOR_PARENT, STOP)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[Item]):
    """The part of one process."""

    name: str
    """Of the part, for messages."""

    item: Item
    """What the function is called with; it is pickled."""

    log: Path
    """File of what the process writes to stdout and stderr; it is appended to."""


@dataclass
class _Worker(Generic[Item]):
    """A process that was started."""

    work: Work[Item]
    """Its part."""

    process: Any
    """Of ``multiprocessing``."""

    answer: Connection
    """Where its result comes from."""

    attempt: int
    """Counts from 1."""


def prepare_workers(modules: Sequence[str]) -> None:
    """Have modules imported for `run_workers` in the background, while the caller gets ready.

    Args:
        modules: The same as there; none is a process more.
    """
    import_ahead(modules, HELD_BACK)


def run_workers(
    function: Callable[[Item], None],
    parts: Sequence[Work[Item]],
    *,
    notice: Callable[[str], None],
    poll: Callable[[], None],
    modules: Sequence[str] = (),
) -> None:
    """Call a function for every part, all at once, each in a process of its own.

    A process that ends without a result is started again, ATTEMPTS times in all. Then, or when the
    function raises, all processes are stopped.

    Args:
        function: Importable by name, not from ``__main__``; must continue where a process that died
            stopped.
        parts: One a process.
        notice: Called for restarts, with a sentence.
        poll: Called every POLL_S, and once in the end.
        modules: What the processes import, where that takes long: it is done once for all.

    Raises:
        RunFailedError: A process ended ATTEMPTS times without a result; names the part and its log.
        HarnessError: The function raised it; with the part and its log in the message.
    """
    running: list[_Worker[Item]] = []
    try:
        for part in parts:
            running.append(_started(function, part, 1, modules))
        while running:
            wait([worker.process.sentinel for worker in running], timeout=POLL_S)
            poll()
            for worker in [one for one in running if not one.process.is_alive()]:
                running.remove(worker)
                if not _answered(worker):
                    running.append(_restarted(function, worker, notice, modules))
    finally:
        _stop([worker.process for worker in running])
    poll()


def _started(
    function: Callable[[Item], None], work: Work[Item], attempt: int, modules: Sequence[str]
) -> _Worker[Item]:
    work.log.parent.mkdir(parents=True, exist_ok=True)
    *first, last = contexts_for(modules)
    for context in first:
        with suppress(*SERVER_ERRORS):
            return _begun(context, function, work, attempt)
    return _begun(last, function, work, attempt)


def _begun(
    context: ForkServerContext | SpawnContext,
    function: Callable[[Item], None],
    work: Work[Item],
    attempt: int,
) -> _Worker[Item]:
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_work,
        args=(function, work.item, work.log, sender, dict(os.environ)),
        name=work.name,
        daemon=True,
    )
    # Held back until the child has decided what to do with them; its parent sees them afterwards.
    with closing(sender), signals_blocked(HELD_BACK), program_left_out():
        process.start()
    return _Worker(work, process, answer, attempt)


def _work(
    function: Callable[[Item], None],
    item: Item,
    log: Path,
    sender: Connection,
    environment: dict[str, str],
) -> None:
    """What a process does, from its start to its end."""
    take_environment(environment)
    # Neither a parent that is gone nor a full disk below the log may hide what happened.
    with suppress(OSError):
        sender.send(_unprepared(log) or _outcome(function, item))


def _unprepared(log: Path) -> HarnessError | None:
    """Prepare this process; what stood in the way, None where nothing did."""
    try:
        with open_to_append(log) as file:
            os.dup2(file.fileno(), sys.stdout.fileno())
            os.dup2(file.fileno(), sys.stderr.fileno())
        faulthandler.enable()  # a segmentation fault leaves its stack in the log
        for number in FOR_PARENT:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(STOP, signal.default_int_handler)
        end_with_parent(STOP)  # no process may write to a run that none holds
    except Exception as error:
        return _in_words(error)
    return None


def _in_words(error: Exception) -> HarnessError:
    failure = failure_of(error, then="then continue")  # with what, the parent says
    return failure or RunFailedError(f"{type(error).__name__}: {error}")


def _outcome(function: Callable[[Item], None], item: Item) -> HarnessError | None:
    """What the function raised; None when it got through."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        function(item)
    except KeyboardInterrupt:
        return RunFailedError("stopped")
    except HarnessError as error:
        _write_down(f"error: {error}\n")
        return error
    except Exception as error:
        _write_down(traceback.format_exc())
        return _in_words(error)
    return None


def _write_down(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(printable(text))
        sys.stderr.flush()


def _answered(worker: _Worker[Item]) -> bool:
    """Whether the process finished its part; raises what it raised."""
    try:
        error: HarnessError | None = worker.answer.recv()
    except EOFError:
        return False
    if error is not None:
        where = f"log: {worker.work.log}"
        hint = where if error.hint is None else f"{error.hint}\n  {where}"
        raise type(error)(f"{worker.work.name}: {error.message}", hint=hint)
    return True


def _restarted(
    function: Callable[[Item], None],
    worker: _Worker[Item],
    notice: Callable[[str], None],
    modules: Sequence[str],
) -> _Worker[Item]:
    work, end = worker.work, _end_of(worker.process.exitcode)
    if worker.attempt >= ATTEMPTS:
        raise RunFailedError(
            f"{work.name}: its process ended {ATTEMPTS} times without a result, last {end}",
            hint=f"log: {work.log}",
        )
    following = worker.attempt + 1
    notice(f"{work.name}: its process ended {end}; attempt {following} of {ATTEMPTS} begins")
    return _started(function, work, following, modules)


def _end_of(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _stop(processes: Sequence[Any]) -> None:
    # A second Ctrl-C would leave those that are not stopped yet; this takes GRACE_S at most.
    with signals_blocked(FOR_PARENT):
        _stop_unhindered(processes)


def _stop_unhindered(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.is_alive():
            with suppress(ProcessLookupError):  # it ended between, and the server has collected it
                os.kill(process.pid, STOP)
    for process in processes:
        process.join(GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()


def end_with_parent(number: int) -> None:
    """Have a child of ``multiprocessing`` signal itself when its parent has ended, however.

    A parent that is killed stops no child, and its children would go on writing to its run.

    Args:
        number: The signal; it arrives while Python code runs, C code that keeps Python's lock is
            ended by its return.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, name="parent", daemon=True).start()
