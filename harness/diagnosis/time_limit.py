"""The time of a diagnosis: looked at between its steps; one that would not fit is not begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.core.errors import HarnessError


class OutOfTimeError(HarnessError):
    """The time of a diagnosis is over, or the next step would take longer than what is left."""


@dataclass(slots=True, kw_only=True)
class Pace:
    """When a diagnosis has to end, and how long its steps take.

    A step is what happens between two looks at the clock. The next one is expected to take as long
    as the longest so far.
    """

    deadline: float
    """On the clock."""
    clock: Callable[[], float]
    """Seconds that rise."""
    longest_s: float = 0.0
    """How long the longest step took."""
    _looked: float = field(init=False)
    """When the clock was looked at last."""

    def __post_init__(self) -> None:
        """Begin with the first step."""
        self._looked = self.clock()

    @property
    def seconds_left(self) -> float:
        """What is left."""
        return self.deadline - self.clock()

    def look(self, *, after_s: float = 0.0) -> None:
        """End one step and begin another.

        Args:
            after_s: What is to be done after the next step takes that long.

        Raises:
            OutOfTimeError: There is no time for it.
        """
        now = self.clock()
        self.longest_s = max(self.longest_s, now - self._looked)
        self._looked = now
        if now + self.longest_s + after_s > self.deadline:
            raise OutOfTimeError("the time of the diagnosis is over")
