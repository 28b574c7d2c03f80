"""Stopwatches and latency statistics. The clock and the barrier come in as arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from harness.core.engine import Stopwatch

#: A clock that never goes back, in seconds, such as ``time.perf_counter``.
Clock = Callable[[], float]


class _NullStopwatch:
    """Records nothing."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


#: For runs that are not timed.
NULL_STOPWATCH: Stopwatch = _NullStopwatch()


class PhaseTimer:
    """A stopwatch that adds up seconds by phase.

    Args:
        now: A monotonic clock in seconds.
        synchronize: Waits for the device; called before both readings, so that a phase is charged
            with its own work and with nothing queued before it.
    """

    def __init__(self, now: Clock, synchronize: Callable[[], None]) -> None:
        self._now = now
        self._synchronize = synchronize
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase, also when the block raises.

        Args:
            name: Name of the phase; a name used twice adds up.
        """
        self._synchronize()
        start = self._now()
        try:
            yield
        finally:
            self._synchronize()
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds per image over all repeats."""

    count: int
    """Images timed, over all repeats."""

    mean_s: float
    """Mean of the repeats' means."""

    p50_s: float
    """Median over all images."""

    p90_s: float
    """90 % of the images took at most so long."""

    p99_s: float
    """99 % of the images took at most so long."""

    spread: float
    """(largest − smallest repeat mean) / mean; 0 for one repeat."""

    @property
    def fps(self) -> float:
        """Images a second: the inverse of ``mean_s``."""
        return 1.0 / self.mean_s


def latency(repeats: Sequence[Sequence[float]]) -> Latency:
    """Statistics of per-image seconds.

    Args:
        repeats: One sequence a repeat; none may be empty.
    """
    means = [sum(repeat) / len(repeat) for repeat in repeats]
    mean = sum(means) / len(means)
    every = sorted(second for repeat in repeats for second in repeat)
    return Latency(
        count=len(every),
        mean_s=mean,
        p50_s=percentile(every, 50),
        p90_s=percentile(every, 90),
        p99_s=percentile(every, 99),
        spread=(max(means) - min(means)) / mean,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which a percentage of the values is, linearly interpolated.

    Args:
        ordered: Ascending, one at least.
        percent: 0…100.
    """
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
