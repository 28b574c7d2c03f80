"""Where the names of dots stand, so that none covers another; and round numbers for an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Of a label: its height, and about what a character takes.
LABEL_HEIGHT, CHARACTER = 14.0, 6.1

#: Half the side of what a dot keeps free, and the gap between a dot and its name.
DOT, GAP = 6.0, 10.0

#: Heights of a label that a name may move up and down.
ROWS = 24


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies wholly inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def place_labels(
    labels: Sequence[str], dots: Sequence[tuple[float, float]], bars: Sequence[Box], frame: Box
) -> list[Box]:
    """A place for each dot's label: the nearest that is free, beside its dot if it can be.

    dots: (x, y). bars: what labels keep out of as well, where there is room to. A label that finds
    no place stands to the right of its dot, over whatever is there.
    """
    taken = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots]
    places: dict[int, Box] = {}
    for number in sorted(range(len(dots)), key=lambda one: dots[one]):
        candidates = [box for box in _around(labels[number], *dots[number]) if frame.holds(box)]
        free = [box for box in candidates if not any(box.meets(other) for other in taken)]
        clear = (box for box in free if not any(box.meets(bar) for bar in bars))
        place = next(clear, None) or next(iter(free), None)
        places[number] = place or next(_around(labels[number], *dots[number]))
        taken.append(places[number])
    return [places[number] for number in range(len(dots))]


def _around(label: str, x: float, y: float) -> Iterator[Box]:
    """Places to the right and to the left of a dot, nearest first."""
    width = CHARACTER * len(label)
    for row in range(ROWS):
        for shift in {-row, row}:
            top = y + shift * LABEL_HEIGHT - LABEL_HEIGHT / 2
            for left in (x + GAP, x - GAP - width):
                yield Box(left, top, left + width, top + LABEL_HEIGHT)


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers at equal steps (1, 2 or 5 times a power of ten) around ``low`` … ``high``.

    low must be below high.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    return [round(number * step, 12) for number in range(first, last + 1)]
