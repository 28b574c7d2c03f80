"""A training that is told to stop finishes its iteration first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

#: Sent by schedulers before a time limit or a preemption.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Stop:
    """Remembers a signal until the iteration is finished."""

    def __init__(self) -> None:
        self.name = "another process"
        self._told = False

    def flag(self) -> torch.Tensor:
        """1.0 when this process was told to stop."""
        return torch.tensor(float(self._told), dtype=torch.float64)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """STOP_SIGNALS and Ctrl-C do not interrupt the block; they are remembered."""
        before = {one: signal.getsignal(one) for one in (*STOP_SIGNALS, signal.SIGINT)}
        for one in before:
            signal.signal(one, self._tell)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _tell(self, number: int, frame: FrameType | None) -> None:
        if self._told and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice: the user will not wait for the iteration
        self._told, self.name = True, signal.Signals(number).name
