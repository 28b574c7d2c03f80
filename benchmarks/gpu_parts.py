"""Runs a part of ``benchmarks/gpu.py`` so that whatever happens to it costs no other part."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

#: Seconds that have to be left for a part to begin.
LEAST_S = 20


class Timed(Protocol):
    """What parts share (``gpu.Session``)."""

    def left_s(self) -> float: ...
    def close(self) -> None: ...


Shared = TypeVar("Shared", bound=Timed, contravariant=True)


class Part(Protocol[Shared]):
    """Measures something; what it has found is in the dictionary even if it fails later."""

    __name__: str

    def __call__(self, session: Shared, found: dict[str, Any], /) -> None: ...


def measured(part: Part[Shared], session: Shared, longest_s: float) -> dict[str, Any]:
    """Return what a part found: all of it, or what it had found until it failed, and why.

    Args:
        part: The part.
        session: What parts share; closed where it fails.
        longest_s: Seconds after which it is given up.
    """
    if session.left_s() < LEAST_S:
        return {"skipped": "no time left"}
    begun = time.monotonic()
    found: dict[str, Any] = {}
    try:
        with limited(longest_s):
            part(session, found)
    except Exception:
        found["failed"] = traceback.format_exc()[-2000:]
    if "failed" in found:
        session.close()  # when no traceback holds its memory any longer
    found["took_s"] = round(time.monotonic() - begun, 1)
    sys.stdout.write(f"{part.__name__}: {json.dumps(found, default=str)[:1500]}\n")
    sys.stdout.flush()
    return found


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block, as soon as Python runs, after so many seconds."""

    def end(*_: object) -> None:
        raise TimeoutError(f"given up after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_to_its_end(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], limit_s: float
) -> subprocess.CompletedProcess[str]:
    """Run another program; past its time it is ended, with the processes that it has started.

    Raises:
        TimeoutExpired: It took too long; nothing of it uses the GPU any longer.
    """
    with subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            out, err = program.communicate(timeout=limit_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, program.returncode, out, err)
