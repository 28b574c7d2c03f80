"""Shares scored in several processes: the first in this one, each other in a child.

A child is a Python of its own that reads its shares from a pipe. A fork would copy the locks of
whatever threads run here, torch's among them, and ``multiprocessing`` would run the main module of
the caller once more, which scripts without a guard do not survive.
"""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from harness.core.errors import RunFailedError
from harness.measure.evaluators import Curves, Share, curves_of


def score_shares(portions: Sequence[Sequence[Share]]) -> list[tuple[Share, Curves]]:
    """Every share with its curves; each portion of shares gets a process.

    Raises what a child raised, and RunFailedError for one that died. No child outlives this call.
    """
    first, *others = portions
    with ThreadPoolExecutor(len(portions)) as pool, _children(len(others)) as children:
        answers = [pool.submit(_ask, *asked) for asked in zip(children, others, strict=True)]
        curves = [curves_of(share) for share in first]
        for answer in answers:
            curves += answer.result()
    return list(zip(itertools.chain(*portions), curves, strict=True))


def answer_parent() -> None:
    """The life of a child: shares from stdin, their curves, or what went wrong, to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent answers it
    gc.disable()  # as in curves_of, and for reading the shares too
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing printed gets into the answer
    shares = pickle.load(sys.stdin.buffer)
    try:
        outcome: list[Curves] | Exception = [curves_of(share) for share in shares]
    except Exception as error:
        outcome = error
    with answer:
        pickle.dump(outcome, answer, protocol=pickle.HIGHEST_PROTOCOL)


@contextmanager
def _children(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that wait for shares; ended in the end, whatever happened."""
    # The same path as here: nothing that lies in the working directory is imported by mistake.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from {__name__} import answer_parent; answer_parent()"
    )
    children: list[subprocess.Popen[bytes]] = []
    pipe = subprocess.PIPE
    try:
        for _ in range(count):
            command = [sys.executable, "-c", code]
            children.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe))
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def _ask(child: subprocess.Popen[bytes], shares: Sequence[Share]) -> list[Curves]:
    """The child's answer to ``shares``."""
    said, complaints = child.communicate(pickle.dumps(shares, protocol=pickle.HIGHEST_PROTOCOL))
    if child.returncode != 0:
        last = complaints.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RunFailedError(
            f"a process that scores died with exit code {child.returncode}: {last or 'no message'}",
            hint="exit code −9 is what too little memory looks like; predictions are kept",
        )
    outcome: list[Curves] | Exception = pickle.loads(said)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
