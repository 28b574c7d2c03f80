"""``python -m harness`` and the ``harness`` console script."""

from __future__ import annotations

import signal
import sys

from harness.cli.main import run


def main() -> None:
    """Run the command line and leave with its exit code.

    SIGTERM, which clusters send before they kill, ends a run the way Ctrl-C does: exit code 130,
    and a line that says how to continue.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
