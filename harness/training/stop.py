"""Signals that stop a training, or ask it for a checkpoint: remembered until an iteration ends."""

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

    Attributes:
        name: Name of the signal.
    """

    def __init__(self, checkpoint_signals: Collection[signal.Signals] = ()) -> None:
        """Remember nothing yet.

        Args:
            checkpoint_signals: Those that the end may or may not follow: they only request one.
        """
        self.name = "another process"
        self._checkpoint_signals = checkpoint_signals
        self._warned = False
        self._requested = False
        self._at_once = False

    def flags(self) -> torch.Tensor:
        """Return whether a checkpoint and a stop are requested.

        Returns:
            (2,) float64, each 0 or 1. A request for a checkpoint is returned once.
        """
        warned, self._warned = self._warned, False
        return torch.tensor([float(warned), float(self._requested)], dtype=torch.float64)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember STOP_SIGNALS and Ctrl-C during the block instead of interrupting it."""
        before = {one: signal.getsignal(one) for one in (*STOP_SIGNALS, signal.SIGINT)}
        for one in before:
            signal.signal(one, self._take)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    @contextmanager
    def leaving_at_once(self, what: str) -> Iterator[None]:
        """Let a stop interrupt the block, inside of ``listening``.

        Args:
            what: Names the block in the message.

        Raises:
            Interrupted: A stop was requested before or during the block.
        """
        self._at_once = True
        try:
            if self._requested:
                raise KeyboardInterrupt
            yield
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(f"stopped by {self.name} in {what}, checkpoint kept") from None
        finally:
            self._at_once = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal, or interrupt the block; a second Ctrl-C always interrupts."""
        if number in self._checkpoint_signals:
            self._warned = True
            return
        again, self._requested, self.name = self._requested, True, signal.Signals(number).name
        if self._at_once or (again and number == signal.SIGINT):
            raise KeyboardInterrupt  # a second time: the user does not wait for the iteration
