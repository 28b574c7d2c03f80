"""Imported by the fork server alone, before all else: how it imports and how it ends.

When the system gives no process, its parent gets the failure as an end of the connection, starts
the process in another way or says what to do. The server's own traceback would stand above that
sentence.
"""

from __future__ import annotations

import atexit
import gc
import sys
from types import TracebackType

from harness.files.failures import failure_of


def _quiet_about_failures_of_the_system(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if failure_of(error) is None:
        sys.__excepthook__(kind, error, trace)


# Work at import, since importing is all that the server does for others. Copies of the server catch
# what they raise themselves.
sys.excepthook = _quiet_about_failures_of_the_system
# Until ``launch.server_ready``: a search for cycles among what is imported finds none.
gc.disable()
atexit.register(gc.freeze)  # as in ``harness.__main__``
