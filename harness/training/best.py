"""Which evaluation of a training was the best, and by what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.requests.training import BestBy


@dataclass(slots=True, kw_only=True)
class Best:
    """The best evaluation so far, by the mean of its APs or by its loss (then negated).

    evaluated: iteration of the last one, best or not.
    """

    value: float = -math.inf
    iteration: int = 0
    evaluated: int = 0


def goodness(best_by: BestBy, losses: Mapping[str, float], scores: Mapping[str, float]) -> float:
    """What the best evaluation has most of."""
    if best_by == "loss":
        return -losses["validation/total_loss"]
    main = [value for name, value in scores.items() if name.endswith("/AP")]
    return sum(main) / len(main) if main else -1.0
