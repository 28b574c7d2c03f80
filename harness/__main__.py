"""``python -m harness`` and the ``harness`` console script."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress

from harness.cli.interruption import Interruption
from harness.cli.main import INTERRUPTED_EXIT_CODE, run
from harness.cli.streams import prepare_streams

#: Rounds that a compute thread spins at the end of a step before it sleeps. libgomp itself spins
#: 300,000 times, also when other programs have the cores, and 1000 times where threads that wait
#: actively are more than the cores (libgomp manual, GOMP_SPINCOUNT).
SPIN_COUNT = "1000"


def main() -> None:
    """Run the command line and leave with its exit code.

    SIGTERM and SIGHUP end a run the way Ctrl-C does: exit code 130, and a line that says how to
    continue.
    """
    prepare_streams()
    share_cores(os.environ)
    interruption = Interruption()
    interruption.install()
    try:
        code = run(sys.argv[1:])
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
        environment: Of this process.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


if __name__ == "__main__":
    main()
