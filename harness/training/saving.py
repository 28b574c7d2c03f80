"""When a checkpoint is due: by time, and not after every few iterations."""

from __future__ import annotations

from collections.abc import Callable

from harness.training.plan import LEAST_BETWEEN_CHECKPOINTS

#: Seconds between two checkpoints.
PERIOD_S = 600.0


class CheckpointClock:
    """Knows when the last checkpoint was saved, and whether another one is due."""

    def __init__(self, every: int | None, iteration: int, clock: Callable[[], float]) -> None:
        """Begin at the start of a training, or where one continues.

        Args:
            every: Iterations between two checkpoints; None for PERIOD_S, and at least
                LEAST_BETWEEN_CHECKPOINTS iterations.
            iteration: Of the start.
            clock: Returns seconds.
        """
        self._every = every
        self._clock = clock
        self._iteration = iteration
        self._begun_s = clock()

    def saved(self, iteration: int) -> None:
        """Remember that the checkpoint of ``iteration`` was saved now."""
        self._iteration = iteration
        self._begun_s = self._clock()

    def is_due(self, iteration: int) -> bool:
        """Return whether a checkpoint follows ``iteration``."""
        if self._every is not None:
            return iteration % self._every == 0
        return self.is_far(iteration) and self._clock() - self._begun_s >= PERIOD_S

    def is_far(self, iteration: int) -> bool:
        """Return whether enough iterations would be lost to save before something long."""
        return iteration - self._iteration >= LEAST_BETWEEN_CHECKPOINTS

    def is_saved(self, iteration: int) -> bool:
        """Return whether the last checkpoint is that of ``iteration``."""
        return iteration == self._iteration
