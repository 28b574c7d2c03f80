"""How far the stages of two networks are from the same network in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

#: How many times as far from float64 as the reference a stage may be.
MOST_RATIO = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDistance:
    """Distance of a stage from float64."""

    stage: str
    """Name of the stage."""

    ours: float
    """Of the fast network, as a share of the stage's root mean square over all images."""

    reference: float
    """The same of the reference."""

    ratio: float
    """``ours`` over ``reference``."""

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
        sums = self.stages.setdefault(stage, _Sums())
        sums.ours += _square(ours.double() - our_truth.double())
        sums.our_truth += _square(our_truth)
        sums.reference += _square(theirs.double() - their_truth.double())
        sums.their_truth += _square(their_truth)

    def rows(self) -> tuple[StageDistance, ...]:
        """Return one row a stage, in the order of the network."""
        found = []
        for stage, sums in self.stages.items():
            ours = (sums.ours / max(sums.our_truth, 1e-300)) ** 0.5
            theirs = (sums.reference / max(sums.their_truth, 1e-300)) ** 0.5
            ratio = ours / theirs if theirs else (1.0 if not ours else float("inf"))
            found.append(
                StageDistance(
                    stage=stage, ours=ours, reference=theirs, ratio=ratio, ok=ratio <= MOST_RATIO
                )
            )
        return tuple(found)


def _square(values: Tensor) -> float:
    return float(values.double().pow(2).sum())
