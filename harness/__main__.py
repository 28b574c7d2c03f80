"""``python -m harness`` and the ``harness`` console script."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from harness.cli.main import INTERRUPTED_EXIT_CODE, run
from harness.cli.streams import prepare_streams

#: Rounds that a compute thread spins at the end of a step before it sleeps. libgomp itself spins
#: 300,000 times, also when other programs have the cores, and 1000 times where threads that wait
#: actively are more than the cores (libgomp manual, GOMP_SPINCOUNT).
SPIN_COUNT = "1000"

#: Signals that come within so many seconds of one are the same wish: a closed terminal, a cluster
#: and an impatient finger send several. A later one interrupts what takes longer than that to end.
BURST_S = 1.0


def main() -> None:
    """Run the command line and leave with its exit code.

    SIGTERM and SIGHUP end a run the way Ctrl-C does: exit code 130, and a line that says how to
    continue.
    """
    begun = time.monotonic() - age_of_process_s()
    atexit.register(gc.freeze)  # at its end Python searches for cycles, half a second with torch
    prepare_streams()
    share_cores(os.environ)
    interruption = Interruption()
    interruption.install()
    try:
        code = run(sys.argv[1:], begun=begun)
    except KeyboardInterrupt:  # a later one, while the first was answered
        code = INTERRUPTED_EXIT_CODE
    interruption.finish(code)
    if code == INTERRUPTED_EXIT_CODE:
        # Python itself would end by SIGINT where an interrupt met the text of a data class that is
        # executed, and takes its handlers back before it has ended.
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Set compute threads to sleep while they wait for each other, unless the user says otherwise.

    On a machine that other programs load, threads that spin take the core from the one they wait
    for: a small network ran ten times slower. It is read when torch is imported, and inherited.

    Args:
        environment: Environment of this process.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


#: Seconds of a start in which nothing is computed: reading from a disk. Chosen.
LONGEST_READING_S = 2.0


def age_of_process_s() -> float:
    """How long this program is there; what it has computed where the system does not say.

    A shell that ends in a program gives it its process, and its age: what it waited for before,
    such as a download, is no part of the program's start.
    """
    computed = time.process_time()
    try:
        after_name = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2]
        begun = int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - begun
        turns = Path("/proc/self/schedstat").read_text(encoding="utf-8").split()
        busy = (int(turns[0]) + int(turns[1])) / 1e9  # on a core, and waiting for one
    except (OSError, ValueError, IndexError, AttributeError):
        return computed
    return max(computed, min(age, busy + LONGEST_READING_S))


def ignore_signals() -> None:
    """Have signals change nothing from now on.

    What is registered first is called last. Python then takes its handlers back, and a signal would
    end the process with another exit code while modules are torn down, which takes a while where
    torch is one of them. What is ignored stays ignored.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


class Interruption:
    """Handler of SIGINT and SIGTERM, which raises ``KeyboardInterrupt``.

    An interrupt that met the answer to another would end Python with a traceback, and by a signal
    instead of an exit code; so of a burst only the first is raised.
    """

    def __init__(self) -> None:
        self._raised_s: float | None = None
        self._code: int | None = None

    def install(self) -> None:
        """Answer from now on; what is ignored (``nohup``, a shell's ``&``) stays so.

        SIGTERM is what clusters send before they kill. SIGHUP, of a closed terminal, is passed on
        as SIGTERM, which a training and a service answer in their own way.
        """
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self)
        signal.signal(signal.SIGTERM, self)
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none, and is refused in a sentence
        if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
            signal.signal(hangup, lambda _number, _frame: signal.raise_signal(signal.SIGTERM))
        atexit.register(ignore_signals)

    def finish(self, code: int) -> None:
        """Have a signal that comes while Python leaves change nothing.

        Args:
            code: Exit code of the command, whose work and answer are finished.
        """
        self._code = code

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal."""
        del number, frame
        if self._code is not None:
            os._exit(self._code)
        now = time.monotonic()
        if self._raised_s is not None and now - self._raised_s < BURST_S:
            return
        self._raised_s = now
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
