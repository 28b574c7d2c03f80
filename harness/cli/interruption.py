"""How a command answers Ctrl-C, SIGTERM and SIGHUP: once, whatever comes after it."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

#: Signals that come within so many seconds of one are the same wish: a closed terminal, a cluster
#: and an impatient finger send several. A later one interrupts what takes longer than that to end.
BURST_S = 1.0


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
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(
                signal.SIGHUP, lambda _number, _frame: signal.raise_signal(signal.SIGTERM)
            )

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
