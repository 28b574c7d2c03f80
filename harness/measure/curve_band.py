"""A training compared with the curve of an earlier one: reported when it leaves the band around it.

Curves are compared at the same share of their schedules, so that a plan scaled to another batch
size can be compared with a published one. A curve is Detectron2's ``metrics.json``: a line of JSON
each 20 iterations with ``iteration`` and ``total_loss``, and ``bbox/AP`` where it was evaluated.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from harness.core.tasks import MAIN_METRICS

#: Share of the schedule over which losses are taken together, and the fewest lines of a median.
WINDOW = 0.01
FEWEST_LINES = 20

#: Half-width of the band around the curve, as a share of the loss. Chosen: medians of 1 % of a
#: schedule repeat to about 2 % between seeds; a learning rate or data that are wrong move far more.
LOSS_BAND = 0.10

#: Half-width for AP; chosen: twice what two trainings of one recipe differ by in the end.
AP_BAND = 1.0
APS = tuple(MAIN_METRICS)

#: Evaluations further apart than this share of the schedule say nothing about the AP between them.
AP_GAP = 0.1

Line = Mapping[str, Any]


class Watch:
    """Compares each new line of a training of ``iterations`` with the curve of an earlier one.

    Without a curve nothing is reported.
    """

    def __init__(self, reference: Sequence[Line], iterations: int) -> None:
        last = max((line["iteration"] for line in reference), default=1)
        self._iterations = iterations
        self._reference = {
            name: sorted(
                (line["iteration"] / last, float(line[name]))
                for line in reference
                if line.get(name) is not None
            )
            for name in ("total_loss", *APS)
        }
        self._own: list[tuple[float, float]] = []
        self._outside: set[str] = set()

    def look(self, line: Line) -> list[str]:
        """What has changed with this line, as sentences: a curve left its band, or came back.

        Args:
            line: The next line of the training's ``metrics.json``.
        """
        share = line["iteration"] / self._iterations
        compared = []
        if line.get("total_loss") is not None:
            self._own.append((share, float(line["total_loss"])))
            compared.append(("total_loss", *self._losses(share)))
        for name in APS:
            if line.get(name) is not None:
                compared.append((name, float(line[name]), self._score(name, share), AP_BAND))
        return [
            sentence
            for name, value, centre, band in compared
            if value is not None and centre is not None
            for sentence in self._sentences(line["iteration"], name, value, centre, band)
        ]

    def _losses(self, share: float) -> tuple[float | None, float | None, float]:
        """Own median, the reference's over the same window, and the half-width around it."""
        recent = self._own[-FEWEST_LINES:]
        begin = min(share - WINDOW, recent[0][0])
        own = _within(self._own, begin, share)
        theirs = _within(self._reference["total_loss"], begin, share)
        if min(len(own), len(theirs)) < FEWEST_LINES:
            return None, None, 0.0
        centre = median(theirs)
        return median(own), centre, LOSS_BAND * centre

    def _score(self, name: str, share: float) -> float | None:
        """The reference's AP at ``share``, between its two nearest evaluations."""
        points = self._reference[name]
        after = bisect_left(points, (share, float("-inf")))
        if after < len(points) and points[after][0] == share:
            return points[after][1]
        if not 0 < after < len(points):
            return None
        (before_share, before), (after_share, later) = points[after - 1], points[after]
        gap = after_share - before_share
        return before + (later - before) * (share - before_share) / gap if gap <= AP_GAP else None

    def _sentences(
        self, iteration: int, name: str, value: float, centre: float, band: float
    ) -> Iterable[str]:
        outside = abs(value - centre) > band
        if outside == (name in self._outside):
            return
        self._outside ^= {name}
        side = "above" if value > centre else "below"
        state = f"{side} the earlier training's" if outside else "back in the band around"
        yield f"iteration {iteration:,}: {name} {value:.3f} is {state} {centre:.3f} ± {band:.3f}"


def departures(lines: Iterable[Line], reference: Sequence[Line], iterations: int) -> list[str]:
    """Every sentence about a whole training, in the order of its lines.

    Args:
        lines: The training's ``metrics.json``.
        reference: That of the earlier training; empty for none.
        iterations: Length of the training's schedule.
    """
    watch = Watch(reference, iterations)
    return [sentence for line in lines for sentence in watch.look(line)]


def _within(points: Sequence[tuple[float, float]], begin: float, end: float) -> list[float]:
    """Values from ``begin`` on, up to and with ``end``; both a hair wider, for rounded shares."""
    low = bisect_left(points, (begin - 1e-9, float("-inf")))
    high = bisect_right(points, (end + 1e-9, float("inf")))
    return [value for _, value in points[low:high]]
