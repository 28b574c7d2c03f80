"""Expected numbers, allowed gaps, and what a measured number is worth against them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal


class Status(str, Enum):
    """What one check found."""

    PASS = "pass"
    FAIL = "fail"
    WITHIN_NOISE = "within-noise"
    MISSING = "missing"
    NO_REFERENCE = "no-reference"
    NOT_COMPARABLE = "not-comparable"
    INFORMATIONAL = "informational"

    @classmethod
    def _missing_(cls, value: object) -> Status | None:
        """Accept what records of older versions call an informational check."""
        return cls.INFORMATIONAL if value == "shown" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The allowed gap below and above a reference, in the unit of its metric.

    None means unbounded on that side: a speed may be faster than its reference, an AP may not be
    better than its own.
    """

    below: float | None
    """Allowed distance below the reference, in the metric's unit; None for any."""

    above: float | None
    """Allowed distance above the reference, in the metric's unit; None for any."""

    source: str
    """Reason for these distances."""

    def accepts(self, delta: float) -> bool:
        """True when measured − reference is inside the gap.

        1e-9 absorbs the binary representation of decimals such as 38.7 − 38.6.
        """
        slack = 1e-9
        too_low = self.below is not None and delta < -self.below - slack
        too_high = self.above is not None and delta > self.above + slack
        return not (too_low or too_high)

    def __str__(self) -> str:
        """As tables, pages and verdicts have it: ``±0.1``, ``-0.1 … +0.2``, ``-∞ … +0.005``."""
        if self.below == self.above:
            return "any" if self.below is None else f"±{self.below:.4g}"
        below, above = ("∞" if one is None else f"{one:.4g}" for one in (self.below, self.above))
        return f"-{below} … +{above}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One published or accepted number, with everything it is valid for and where it comes from."""

    metric: str
    """Task and number, 0-100: ``bbox/AP`` … ``segm/ARl``, ``keypoints/AP``, ``panoptic_seg/PQ``,
    ``sem_seg/mIoU``, ``box_proposals/AR@1000``, a task with ``_TTA`` for test-time augmentation.
    Or ``s_per_image``, ``train_s_per_iteration``, ``train_s_per_image``, ``train_memory_gb``.
    """

    value: float
    """The number, in the metric's unit."""

    tolerance: Tolerance | None
    """Allowed distances; None marks a number for information that is never judged."""

    dataset: str | None = None
    """Name of the data set it was measured on."""

    device_class: str | None = None
    """Device a speed was measured on; None for accuracy."""

    role: Literal["published", "independent", "accepted"] = "published"
    """Published with the model, from an independent source, or accepted from an own run."""

    trust: str | None = None
    """How far an independent number can be relied on, and why; None for the others."""

    source: str
    """Where the number comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row of a verdict: measured against reference, or why that cannot be said."""

    metric: str
    """Name of the metric."""

    measured: float | None
    """Measured value; None when it could not be computed."""

    reference: Reference | None
    """What it was compared with; None without one."""

    delta: float | None
    """Measured − reference, in the metric's unit."""

    status: Status
    """Result of the comparison."""

    reason: str = ""
    """Explanation; empty for a plain pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks of a run and what they say together."""

    outcome: Literal["pass", "fail", "nothing-to-compare"]
    """``pass`` (every judged row passes), ``fail`` (at least one fails or is missing) or
    ``nothing-to-compare``.
    """

    line: str
    """The same in one sentence."""
