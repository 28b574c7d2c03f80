"""The best evaluation of a training, and the metric it is chosen by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.requests.training import BestBy


@dataclass(slots=True, kw_only=True)
class Best:
    """The best evaluation so far."""

    value: float = -math.inf
    """Its metric, as ``goodness`` returns it; minus infinity before the first."""

    iteration: int = 0
    """Its iteration."""

    evaluated: int = -1
    """Iteration of the last evaluation, best or not; -1 before the first."""


def goodness(best_by: BestBy, losses: Mapping[str, float], scores: Mapping[str, float]) -> float:
    """Return the metric by which evaluations are compared; higher is better.

    Args:
        best_by: What the metric is.
        losses: Mean losses of the validation images by name.
        scores: Numbers of the evaluation by name.

    Returns:
        The negated total loss, or the mean of the APs (0 to 100; -1 where there is none).
    """
    if best_by == "loss":
        return -losses["validation/total_loss"]
    main = [value for name, value in scores.items() if name.endswith("/AP")]
    return sum(main) / len(main) if main else -1.0
