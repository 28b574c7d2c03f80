"""Processes that begin with their modules imported: copies of one that has imported them.

Torch alone takes seconds to import, on a machine that reads it for the first time many. The fork
server of ``multiprocessing`` imports once, before it computes anything or starts a thread,
and opens no GPU; each process is a copy of it. Where it cannot be used a process is spawned, and
imports for itself: on macOS, whose system libraries do not survive a fork; and when the environment
changed after the server was started, since some variables are read by an import.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import forkserver, resource_tracker, spawn
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from harness.core.errors import RunFailedError
from harness.files.scratch import claim_sockets

#: What the server imports first, and last.
PREPARATION = "harness.launch.server_process"
READY = "harness.launch.server_ready"

#: Of each thread: whether what it starts does without the user's program.
LEFT_OUT = threading.local()

#: What starting a process by the server may end with: no place for its socket, a server that died.
SERVER_ERRORS = (OSError, EOFError)


def contexts_for(modules: Sequence[str]) -> tuple[ForkServerContext | SpawnContext, ...]:
    """Return the ways to start a process that needs modules, the best first.

    Args:
        modules: Names of what the server imports; none for a process that imports little.

    Raises:
        RunFailedError: This Python cannot be executed; its processes would end without a message.
    """
    python = os.fsdecode(spawn.get_executable())
    if not os.access(python, os.X_OK):
        raise RunFailedError(
            f"no process can be started: this user cannot execute {python}",
            hint="was it moved, removed or protected since this command began? use a Python that "
            "this user may execute, and a virtual environment made with it",
        )
    with suppress(*SERVER_ERRORS):
        # Its start lets SIGINT and SIGTERM through again, so it must come before they are blocked.
        resource_tracker.ensure_running()
        claim_sockets()
    by_spawning = multiprocessing.get_context("spawn")
    offered = "forkserver" in multiprocessing.get_all_start_methods()
    if not modules or not offered or sys.platform == "darwin" or not _same_environment():
        return (by_spawning,)
    by_server = multiprocessing.get_context("forkserver")
    by_server.set_forkserver_preload([PREPARATION, *modules, READY])
    return by_server, by_spawning


def import_ahead(modules: Sequence[str], held_back: Sequence[signal.Signals]) -> None:
    """Have the server begin its imports, and return at once: the caller has work of its own first.

    Args:
        modules: As in `contexts_for`.
        held_back: Signals that never reach the server.
    """
    if len(contexts_for(modules)) > 1:
        with signals_blocked(held_back), suppress(*SERVER_ERRORS):
            forkserver.ensure_running()


@contextmanager
def program_left_out() -> Iterator[None]:
    """Processes that this thread starts inside do not import the program of the user.

    ``multiprocessing`` imports a script in every process that it starts, for what is defined there.
    Ours need nothing of it, and a script that calls harness outside of ``if __name__ ==
    "__main__"`` would run once more in each of them, or stand still. Processes of other threads,
    which are the user's own, begin as ever.
    """
    _leave_out_where_asked()
    LEFT_OUT.here = True
    try:
        yield
    finally:
        LEFT_OUT.here = False


@cache
def _leave_out_where_asked() -> None:
    """Have ``multiprocessing`` say nothing of the program to a process of `program_left_out`."""
    prepared = spawn.get_preparation_data

    def without_program(name: str) -> dict[str, Any]:
        found: dict[str, Any] = prepared(name)
        if getattr(LEFT_OUT, "here", False):
            found.pop("init_main_from_name", None)
            found.pop("init_main_from_path", None)
        return found

    spawn.get_preparation_data = without_program


@contextmanager
def signals_blocked(numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """Hold signals back in this thread; a process that is started inside begins so, too.

    A server that began so never sees them: a terminal or SLURM sends them to every process, and its
    end would be taken for that of its copies.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_environment(environment: dict[str, str]) -> None:
    """Make the environment of this process that of its parent; the server's may be older."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _same_environment() -> bool:
    return _environment_of_server() == dict(os.environ)


@cache
def _environment_of_server() -> dict[str, str]:
    """Return the environment at the first call, after which the server is started."""
    return dict(os.environ)
