"""Why two networks of the same weights answer differently: what rounding does to them.

Every number of the one is near the same number of the other; how near, their distances from the
same network in float64 say, stage by stage. But a threshold between two near numbers parts them: a
candidate is suppressed here and not there, a keypoint is at two places. A difference is explained
when it comes down to such decisions, each with the values of both networks within rounding of each
other and on its two sides. What is left over is a fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.engines.parity.replay import Choice, Replay
from harness.nn.heads import located
from harness.nn.sampling import pairwise_iou

#: How many times as far from float64 as the reference a stage may be.
MOST_RATIO = 2.0

#: Two networks, one up to MOST_RATIO times as far from float64 as the other, are so many times the
#: reference's own distance apart.
APART = 1.0 + MOST_RATIO

#: What the order of its sums moves an IoU by, in float32: NMS and ``pairwise_iou`` may differ so.
IOU_ROUNDING = 1e-6


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

    @property
    def is_finite(self) -> bool:
        """Whether both numbers are. Of a network that overflows, anything would be within them."""
        return math.isfinite(self.margin) and math.isfinite(self.rounding)


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

    most: int
    """Candidates chosen, at most."""

    score_rounding: Callable[[int], float]
    """How far scores of an id may be apart in the two networks."""

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
        overlaps = pairwise_iou(boxes[row : row + 1], boxes[rows])[0]
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
                Decision(kind="equal ranks", margin=apart, rounding=self.score_rounding(one))
                if (near)
                else None
            )
        if self._overlap(one, other, here) > self.threshold + IOU_ROUNDING:
            return None  # it had to be suppressed here, too
        moved = max(float((here.box(each) - there.box(each)).abs().max()) for each in (one, other))
        if moved > self.box_rounding:
            return self.jumps(other)
        return Decision(kind="NMS pair at its threshold", margin=margin, rounding=moved)

    def _overlap(self, one: int, other: int, side: Side) -> float:
        """Return the IoU of two candidates as NMS has it."""
        boxes = [side.choice.shifted[side.rows[each]][None] for each in (one, other)]
        return float(pairwise_iou(*boxes))

    def _outranked(self, one: int, here: Side, there: Side, first: bool) -> Decision | None:
        """Return why it survives there, but is not among the best."""
        if len(there.chosen) < self.most or len(here.chosen) > self.most:
            return None  # there was room for it, or none here
        margin = min(there.score(each) for each in there.chosen) - there.score(one)
        rounding = self.score_rounding(one)
        if margin <= 2 * rounding and self._near(one, here, there):
            return Decision(kind="rank at its cut", margin=margin, rounding=rounding)
        ahead = [
            each
            for each in there.kept
            if there.rows[each] < there.rows[one] and each not in here.kept
        ]
        reasons = [self._remembered(each, there, here, not first, among="kept") for each in ahead]
        return reasons[0] if reasons and None not in reasons else None

    def _near(self, one: int, here: Side, there: Side) -> bool:
        return abs(here.score(one) - there.score(one)) <= self.score_rounding(one) or (
            self.jumps(one) is not None
        )


@dataclass(frozen=True, slots=True)
class Traced:
    """A tracer and its two networks."""

    tracer: Tracer
    """The tracer."""
    first: Side
    """The fast network."""
    second: Side
    """The reference."""
    anchors: Traced | None = None
    """The same of the proposals that detections were found in; None without any."""


def pair_side(one: Replay) -> Side:
    """Return the detections of a replay; a pair whose anchor is no proposal has NaN for numbers."""
    rows = {anchor: row for row, anchor in enumerate(one.regions.tolist())}
    classes = one.scores.shape[1]

    def score(pair: int) -> float:
        row = rows.get(pair // classes)
        return float("nan") if row is None else float(one.scores[row, pair % classes])

    def box(pair: int) -> Tensor:
        row = rows.get(pair // classes)
        return torch.full((4,), torch.nan) if row is None else one.moved[row, pair % classes]

    return side_of(one.detections, score, box)


def differing(first: Side, second: Side) -> list[tuple[int, bool]]:
    """Return what only one of them chose: (id, whether the first network has it)."""
    return [
        *((one, True) for one in sorted(first.chosen - second.chosen)),
        *((one, False) for one in sorted(second.chosen - first.chosen)),
    ]


def finite(value: float) -> float | None:
    """Return a number that JSON can have; None of infinity and NaN."""
    return value if math.isfinite(value) else None


def largest(values: Tensor) -> float:
    """Return the largest magnitude; 0 of nothing."""
    return float(values.abs().max()) if values.numel() else 0.0


def softmax_bars(
    scores: Tensor, stages: Sequence[tuple[Tensor, Tensor]], smooth: Tensor, cut: float
) -> Tensor:
    """Return (P, K): how far each probability of a softmax may be from another network's.

    Rounding is measured on the logits, where it is alike in all rows and classes, and carried to
    each probability p by its slope p (1 − p). Among the probabilities themselves only the few that
    are neither 0 nor 1 show it: their largest error is that of one or two rows, and small by luck.

    Args:
        scores: (P, K) of the reference, the mean over the stages, without the last class.
        stages: (P, K + 1) logits of each stage of the reference, and the same in float64.
        smooth: (P,) bool: rows in which rounding can be measured.
        cut: Score below which a pair is none.
    """
    bars, exact = torch.zeros_like(scores, dtype=torch.float64), torch.zeros_like(scores.double())
    for logits, true in stages:
        off = (logits.double() - true)[smooth]
        # What all logits of a row gain alike moves no probability.
        gain = APART * largest(off.amax(dim=1) - off.amin(dim=1))
        likely, rest = _likely(logits.double())
        bars += _moved(likely[:, :-1], rest[:, :-1], gain) / len(stages)
        exact += likely[:, :-1] / len(stages)
    return bars + _computed(scores, exact, cut)


def sigmoid_bars(scores: Tensor, logits: Tensor, true: Tensor, cut: float) -> Tensor:
    """Return (N, K): how far each probability of a sigmoid may be from another network's.

    Args:
        scores: (N, K) of the reference.
        logits: (N, K) of the reference.
        true: The same in float64.
        cut: Score below which a pair is none.
    """
    likely, rest = logits.double().sigmoid(), (-logits.double()).sigmoid()
    return _moved(likely, rest, APART * largest(logits - true)) + _computed(scores, likely, cut)


def _likely(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return (P, K + 1) probabilities p, and 1 − p, which is not 0 where p is 1 to the last bit."""
    likely = logits.softmax(dim=1)
    best = logits.argmax(dim=1, keepdim=True)
    others = logits.scatter(1, best, -math.inf).logsumexp(dim=1, keepdim=True)
    return likely, (1 - likely).scatter(1, best, (others - logits.logsumexp(1, True)).exp())


def _moved(likely: Tensor, rest: Tensor, gain: float) -> Tensor:
    """Return how far probabilities p may be moved by logits that gain so much on the others.

    Args:
        likely: p.
        rest: 1 − p.
        gain: Of a logit.
    """
    return torch.nan_to_num(likely * rest * grown(gain), nan=1.0).clamp(max=1.0)


def grown(gain: float) -> float:
    """Return by what share a number grows whose logarithm gains so much; perhaps infinite."""
    return float(torch.tensor(gain, dtype=torch.float64).expm1())


def _computed(scores: Tensor, exact: Tensor, cut: float) -> Tensor:
    """Return what computing a probability from given logits adds: a share of it, as measured."""
    share = largest(((scores - exact) / exact)[exact > cut])
    return APART * share * exact


def no_jump(_: int) -> Decision | None:
    """Return None, for ids whose numbers never jump."""
    return None


#: A bicubic sample is off by at most so many times what the heat around it is: in each direction
#: its four weights add up to 1.375 at most, signs left out (A = −0.75, half-way).
BICUBIC_GAIN = 1.375**2

#: Keypoints that are no farther apart are the same, px: what the last bit of a place is worth.
SAME_PX = 1e-3


@dataclass(frozen=True, slots=True)
class Heated:
    """The keypoints of one detection as one network computed them."""

    heat: Tensor
    """(K, M, M) logits."""

    box: Tensor
    """(4,) px of the resized input."""

    def places(self) -> Tensor:
        """Return (K, 2): x and y in px of the resized input."""
        return located(self.heat[None], self.box[None].to(self.heat.dtype))[0, :, :2]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in which its heat is sampled, px."""
        sides = (self.box[2:] - self.box[:2]).clamp(min=1).ceil().long().tolist()
        return int(sides[1]), int(sides[0])

    def sampled(self) -> Tensor:
        """Return (K, height · width): the heat at every pixel of the box."""
        full = F.interpolate(self.heat[None], self.size, mode="bicubic", align_corners=False)
        return full[0].flatten(1)


def keypoints_apart(
    mine: Heated, their: Heated, *, box_off: float, heat_off: float
) -> tuple[bool, Decision | None]:
    """Return whether a keypoint is at two places, and the decision behind it.

    Args:
        mine: Keypoints of the fast network.
        their: Keypoints of the reference.
        box_off: How far boxes may be apart by rounding, px.
        heat_off: How far heat may be apart by rounding.

    Returns:
        Whether they differ; the decision, None where there is none: a fault.
    """
    moved = (mine.places() - their.places()).abs().amax(dim=1)  # (K,)
    allowed = SAME_PX + box_off
    apart = moved > allowed
    if not bool(apart.any()):
        return False, None
    off = largest(mine.box - their.box)
    if mine.size != their.size:
        kind = Decision(kind="box at a whole number of pixels", margin=off, rounding=box_off)
        return True, kind if off <= box_off else None
    first, second = mine.sampled(), their.sampled()
    rows = torch.arange(len(first))
    lead = second.amax(dim=1) - second[rows, first.argmax(dim=1)]  # (K,), of the reference's place
    margin, rounding = float(lead[apart].max()), 2 * BICUBIC_GAIN * heat_off
    decision = Decision(kind="heat of two places", margin=margin, rounding=rounding)
    return True, decision if margin <= rounding else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDistance:
    """Distance of a stage from float64."""

    stage: str
    """Name of the stage."""

    ours: float | None
    """Of the fast network, as a share of the stage's root mean square over all images; None where
    a number is not finite.
    """

    reference: float | None
    """The same of the reference."""

    ratio: float | None
    """``ours`` over ``reference``; None where one is, and where only the reference is exact."""

    ok: bool
    """Whether the ratio is at most MOST_RATIO."""


@dataclass(slots=True)
class _Sums:
    """Sums of squares of one stage over all images."""

    ours: float = 0.0
    """Errors of the fast network."""
    reference: float = 0.0
    """Errors of the reference."""
    our_truth: float = 0.0
    """float64's values along the fast network's decisions."""
    their_truth: float = 0.0
    """float64's values along the reference's decisions."""


@dataclass(slots=True)
class Measured:
    """Sums of all stages."""

    stages: dict[str, _Sums] = field(default_factory=dict)
    """Sums by name of the stage."""

    def add(self, stage: str, values: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Add to a stage our values with their truth, and the reference's with theirs."""
        (ours, our_truth), (theirs, their_truth) = values
        if not ours.numel() or not theirs.numel():
            return  # one of them found nothing here: there is nothing to compare
        sums = self.stages.setdefault(stage, _Sums())
        sums.ours += _square(ours.double() - our_truth.double())
        sums.our_truth += _square(our_truth)
        sums.reference += _square(theirs.double() - their_truth.double())
        sums.their_truth += _square(their_truth)

    def rows(self) -> tuple[StageDistance, ...]:
        """Return one row a stage, in the order of the network."""
        return tuple(_distance(stage, sums) for stage, sums in self.stages.items())


def _distance(stage: str, sums: _Sums) -> StageDistance:
    ours = finite((sums.ours / max(sums.our_truth, 1e-300)) ** 0.5)
    theirs = finite((sums.reference / max(sums.their_truth, 1e-300)) ** 0.5)
    ratio = None
    if ours is not None and theirs is not None:
        ratio = finite(ours / theirs) if theirs else (None if ours else 1.0)
    ok = ratio is not None and ratio <= MOST_RATIO
    return StageDistance(stage=stage, ours=ours, reference=theirs, ratio=ratio, ok=ok)


def _square(values: Tensor) -> float:
    return float(values.double().pow(2).sum())
