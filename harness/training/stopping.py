"""A training that is told to stop finishes its iteration first, or leaves its evaluation."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from harness.core.errors import Interrupted

#: Sent by schedulers before a time limit or a preemption.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Stop:
    """Remembers a signal until the iteration is finished.

    warnings: signals that may or may not be the end: they ask for a checkpoint, not for a stop.
    """

    def __init__(self, warnings: Collection[signal.Signals] = ()) -> None:
        self.name = "another process"
        self._warnings = warnings
        self._warned = False
        self._told = False
        self._at_once = False

    def flags(self) -> torch.Tensor:
        """Whether a checkpoint (asked once), and whether a stop is wanted: two numbers, 0 or 1."""
        warned, self._warned = self._warned, False
        return torch.tensor([float(warned), float(self._told)], dtype=torch.float64)

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

    @contextmanager
    def leaving_at_once(self, what: str) -> Iterator[None]:
        """While listening: a stop interrupts the block, which must bear it."""
        self._at_once = True
        try:
            if self._told:
                raise KeyboardInterrupt
            yield
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(f"stopped by {self.name} in {what}, checkpoint kept") from None
        finally:
            self._at_once = False

    def _tell(self, number: int, frame: FrameType | None) -> None:
        if number in self._warnings:
            self._warned = True
            return
        again, self._told, self.name = self._told, True, signal.Signals(number).name
        if self._at_once or (again and number == signal.SIGINT):
            raise KeyboardInterrupt  # asked twice: the user will not wait for the iteration
