"""``python -m harness`` and the ``harness`` console script."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from types import FrameType

from harness.cli.main import INTERRUPTED_EXIT_CODE, run
from harness.cli.streams import prepare_streams

#: Rounds that a compute thread spins at the end of a step before it sleeps. libgomp itself spins
#: 300,000 times, also when other programs have the cores, and 1000 times where threads that wait
#: actively are more than the cores (libgomp manual, GOMP_SPINCOUNT).
SPIN_COUNT = "1000"


def main() -> None:
    """Run the command line and leave with its exit code.

    SIGTERM, which clusters send before they kill, and SIGHUP, which a closed terminal sends, end a
    run the way Ctrl-C does: exit code 130, and a line that says how to continue.
    """
    prepare_streams()
    share_cores(os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup has it ignored
        signal.signal(signal.SIGHUP, _terminate)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # another one, while the first was answered
        code = INTERRUPTED_EXIT_CODE
    _leave_at_once_with(code)
    if code == INTERRUPTED_EXIT_CODE:
        # Python itself would end by SIGINT where an interrupt met the text of a data class that is
        # executed, and takes its handlers back before it has ended.
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Pass a signal on as SIGTERM, which a training, a service and everything else answer."""
    del number, frame
    signal.raise_signal(signal.SIGTERM)


def _leave_at_once_with(code: int) -> None:
    """Have a signal that comes while Python leaves change neither the exit code nor what is said.

    Args:
        code: Of the command, whose work and answer are finished.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        del number, frame
        os._exit(code)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Set compute threads to sleep while they wait for each other, unless the user says otherwise.

    On a machine that other programs load, threads that spin take the core from the one they wait
    for: a small network ran ten times slower. It is read when torch is imported, and inherited.

    Args:
        environment: Of this process.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


if __name__ == "__main__":
    main()
