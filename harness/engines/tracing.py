"""Why two networks of the same weights answer differently: the decision that rounding tipped.

Every number of the one is near the same number of the other, but a threshold between two near
numbers parts them: a candidate is suppressed here and not there. A difference is explained when it
comes down to such decisions, each with the values of both networks within rounding of each other
and on its two sides. What is left over is a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor
from torchvision.ops import box_iou

from harness.engines.replay import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision that went two ways."""

    kind: str
    """What was decided."""

    margin: float
    """By how much the network that decided against passed its threshold, in the unit of what is
    decided.
    """

    rounding: float
    """How far numbers of this kind may be apart."""


@dataclass(frozen=True, slots=True)
class Side:
    """One network's choice, with the numbers of every candidate there could be."""

    choice: Choice
    """The choice."""

    score: Callable[[int], float]
    """Score of an id, also of one that did not pass the first cut."""

    box: Callable[[int], Tensor]
    """Box of an id, likewise."""

    rows: dict[int, int]
    """Row of each id in the choice."""

    kept: frozenset[int]
    """Ids that survived NMS."""

    chosen: frozenset[int]
    """Ids that were chosen."""


def side_of(choice: Choice, score: Callable[[int], float], box: Callable[[int], Tensor]) -> Side:
    """Return the choice with its look-ups.

    Args:
        choice: What the network chose.
        score: Score of any id.
        box: (4,) box of any id.
    """
    ids = choice.ids.tolist()
    return Side(
        choice,
        score,
        box,
        {one: row for row, one in enumerate(ids)},
        frozenset(choice.ids[choice.kept].tolist()),
        frozenset(choice.ids[choice.chosen].tolist()),
    )


@dataclass(slots=True)
class Tracer:
    """Explains why an id is chosen in one of two networks and not in the other."""

    threshold: float
    """IoU of NMS."""

    score_rounding: float
    """How far scores of the two networks may be apart."""

    box_rounding: float
    """How far their boxes may be apart, px."""

    jumps: Callable[[int], Decision | None]
    """Whether an id's numbers may be further apart, since its region is pooled otherwise: the
    decision that made it so, or None.
    """

    missing: Callable[[int, Side, Side], Decision | None]
    """Why an id is no candidate at all in the second network."""

    known: dict[tuple[int, bool, bool], Decision | None] = field(default_factory=dict)
    """Decisions found so far."""

    def why(self, one: int, here: Side, there: Side, *, first: bool) -> Decision | None:
        """Return the decision for an id that is chosen here and not there; None when there is none.

        Args:
            one: The id.
            here: The network that chose it.
            there: The other network.
            first: Whether ``here`` is the first network, for what is remembered.
        """
        return self._remembered(one, here, there, first, among="chosen")

    def _remembered(
        self, one: int, here: Side, there: Side, first: bool, *, among: str
    ) -> Decision | None:
        key = (one, first, among == "chosen")
        if key not in self.known:
            self.known[key] = None  # a circle of reasons explains nothing
            self.known[key] = self._why(one, here, there, first, among)
        return self.known[key]

    def _why(self, one: int, here: Side, there: Side, first: bool, among: str) -> Decision | None:
        jump = self.jumps(one)
        if jump is not None:
            return jump
        if one not in there.rows:
            return self.missing(one, here, there)
        if one not in there.kept:
            return self._suppressed(one, here, there, first)
        return self._outranked(one, here, there, first) if among == "chosen" else None

    def _suppressed(self, one: int, here: Side, there: Side, first: bool) -> Decision | None:
        """Return why none of those that suppress it there does so here; each of them needs a
        reason.
        """
        row = there.rows[one]
        before = there.choice.kept[:row] & (there.choice.groups[:row] == there.choice.groups[row])
        rows = before.nonzero()[:, 0]
        boxes = there.choice.shifted
        overlaps = box_iou(boxes[row : row + 1], boxes[rows])[0]
        found: Decision | None = None
        for place in (overlaps > self.threshold).nonzero()[:, 0].tolist():
            other = int(there.choice.ids[rows[place]])
            margin = float(overlaps[place]) - self.threshold
            found = self._not_by(one, other, margin, here, there, first)
            if found is None:
                return None
        return found

    def _not_by(
        self, one: int, other: int, margin: float, here: Side, there: Side, first: bool
    ) -> Decision | None:
        """Return why ``other``, which suppresses ``one`` there, does not here."""
        ranked_after = other in here.rows and here.rows[other] > here.rows[one]
        if other not in here.kept and not ranked_after:
            return self._remembered(other, there, here, not first, among="kept")
        if ranked_after:
            apart = abs(there.score(other) - there.score(one))
            near = self._near(one, here, there) and self._near(other, here, there)
            return (
                Decision(kind="equal ranks", margin=apart, rounding=self.score_rounding)
                if (near)
                else None
            )
        moved = max(float((here.box(each) - there.box(each)).abs().max()) for each in (one, other))
        if moved > self.box_rounding:
            return self.jumps(other)
        return Decision(kind="NMS pair at its threshold", margin=margin, rounding=moved)

    def _outranked(self, one: int, here: Side, there: Side, first: bool) -> Decision | None:
        """Return why it survives there, but is not among the best."""
        last = min(there.score(each) for each in there.chosen)
        margin = last - there.score(one)
        if margin <= 2 * self.score_rounding and self._near(one, here, there):
            return Decision(kind="rank at its cut", margin=margin, rounding=self.score_rounding)
        ahead = [
            each
            for each in there.kept
            if there.rows[each] < there.rows[one] and each not in here.kept
        ]
        reasons = [self._remembered(each, there, here, not first, among="kept") for each in ahead]
        return reasons[0] if reasons and None not in reasons else None

    def _near(self, one: int, here: Side, there: Side) -> bool:
        return abs(here.score(one) - there.score(one)) <= self.score_rounding or (
            self.jumps(one) is not None
        )


def differing(first: Side, second: Side) -> list[tuple[int, bool]]:
    """Return what only one of them chose: (id, whether the first network has it)."""
    return [
        *((one, True) for one in sorted(first.chosen - second.chosen)),
        *((one, False) for one in sorted(second.chosen - first.chosen)),
    ]


def largest(values: Tensor) -> float:
    """Return the largest magnitude; 0 of nothing."""
    return float(values.abs().max()) if values.numel() else 0.0


def no_jump(_: int) -> Decision | None:
    """Return None, for ids whose numbers never jump."""
    return None
