"""Children of this process that compute calls, and that a signal to it can end.

C code that keeps Python's lock reacts neither to Ctrl-C nor to SIGTERM until it returns. A child is
a Python of its own that reads calls from a pipe, one after the other. A fork would copy the locks
of whatever threads run here, torch's among them, and ``multiprocessing`` would run the main module
of the caller once more, which scripts without a guard do not survive.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple, TypeVar

from harness.core.errors import RunFailedError

T = TypeVar("T")

#: PR_SET_PDEATHSIG of Linux's prctl.
SET_PARENT_DEATH_SIGNAL = 1


class _Child(NamedTuple):
    """A process that waits for calls."""

    process: subprocess.Popen[bytes]
    """With pipes for calls and results."""
    complaints: IO[bytes]
    """What it writes to stderr."""


class Children:
    """Processes that compute calls, in the order in which they were submitted.

    Args:
        count: How many processes; 0 where nothing is submitted.
    """

    def __init__(self, count: int) -> None:
        self._children: list[_Child] = []
        self._free: SimpleQueue[_Child] = SimpleQueue()
        self._threads = ThreadPoolExecutor(max(1, count))
        self._files = ExitStack()
        try:
            for _ in range(count):
                complaints = self._files.enter_context(TemporaryFile())  # noqa: SIM115
                self._children.append(_started(complaints))
                self._free.put(self._children[-1])
        except BaseException:
            self.end()
            raise

    def submit(self, function: Callable[[Any], T], argument: Any) -> Future[T]:
        """The result of a call, when it is there.

        It raises RunFailedError where the process exited without a result, and an error that the
        function raised unchanged.

        Args:
            function: Importable by name.
            argument: What can be pickled.
        """
        return self._threads.submit(self._call, function, argument)

    def end(self) -> None:
        """End all processes, whatever they compute."""
        for child in self._children:
            child.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for child in self._children:
            with suppress(OSError):  # of what was not yet sent
                child.process.communicate()
        self._files.close()

    def _call(self, function: Callable[[Any], T], argument: Any) -> T:
        child = self._free.get()
        try:
            return _ask(child, function, argument)
        finally:
            self._free.put(child)


@contextmanager
def children(count: int) -> Iterator[Children]:
    """Processes that wait for calls; ended in the end, whatever happened."""
    found = Children(count)
    try:
        yield found
    finally:
        found.end()


def in_children(function: Callable[[Any], T], arguments: Sequence[Any]) -> list[T]:
    """``function`` of each argument, each in a child of its own; the results in order.

    No child outlives this call, however it ends.

    Args:
        function: Importable by name.
        arguments: What can be pickled.

    Raises:
        RunFailedError: A child exited without a result. An error that the function raised is raised
            again unchanged.
    """
    with children(len(arguments)) as started:
        answers = [started.submit(function, argument) for argument in arguments]
        return [answer.result() for answer in answers]


def answer_parent(parent: int) -> None:
    """Call the functions that stdin describes; write their results or errors to stdout.

    Args:
        parent: Process id of the caller.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's reach all; the parent handles them
        signal.signal(number, signal.SIG_IGN)
    _end_with_parent(parent)
    gc.disable()  # millions of rows to search for cycles, and none there
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing printed gets into a result
    calls = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    with calls, answers:
        while calls.peek(1):
            function, argument = pickle.load(calls)
            try:
                outcome: tuple[bool, Any] = (True, function(argument))
            except Exception as error:
                outcome = (False, error)
            pickle.dump(outcome, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
            del function, argument, outcome  # before the next call needs memory
            gc.collect()


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent, however that ends.

    A thread could not: code in C keeps Python's lock.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def _started(complaints: IO[bytes]) -> _Child:
    # The same path as here: nothing in the working directory is imported by mistake.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from {__name__} import answer_parent; answer_parent({os.getpid()})"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=complaints)
    return _Child(process, complaints)


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process whose pipes are closed or whose result makes no sense."""
    try:
        return process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _ask(child: _Child, function: Callable[[Any], T], argument: Any) -> T:
    """What the function makes of the argument, in the child."""
    process = child.process
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump((function, argument), process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        done, outcome = pickle.load(process.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        code = _ended(process)
        child.complaints.seek(0)
        last = child.complaints.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RunFailedError(
            f"a process exited with code {code}: {last[-500:] or 'no message'}",
            hint="exit code −9 is what too little memory looks like; predictions are kept",
        ) from error
    if not done:
        raise outcome
    result: T = outcome
    return result
