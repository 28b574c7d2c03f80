"""Whether two networks place the keypoints of a detection apart, and what rounding tipped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.engines.tracing import Decision, largest
from harness.nn.heads import located

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
        mine: Of the fast network.
        their: Of the reference.
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
