"""How pictures are drawn: what a user may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.core.errors import UsageError

Background = Literal["colour", "grey"]
BACKGROUNDS: tuple[Background, ...] = ("colour", "grey")
ColourBy = Literal["instance", "class"]
COLOURS_BY: tuple[ColourBy, ...] = ("instance", "class")

LARGEST_SCALE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingStyle:
    """How detections are drawn.

    background: ``grey`` takes the colour from all that is no object. opacity: of masks, 0…1.
    scale: of the drawn picture against the image. threshold: detections with a lower score are not
    drawn; it has nothing to do with the recipe that numbers are measured with.
    """

    background: Background = "colour"
    colour_by: ColourBy = "instance"
    opacity: float = 0.5
    boxes: bool = True
    labels: bool = True
    scale: float = 1.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name, known in (("background", BACKGROUNDS), ("colour_by", COLOURS_BY)):
            found = getattr(self, name)
            if found not in known:
                raise UsageError(
                    f"{name.replace('_', ' ')} must be {' or '.join(known)}, got {found!r}"
                )
        for name in ("opacity", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--{name} must be from 0 to 1, got {getattr(self, name)}")
        if not (math.isfinite(self.scale) and 0 < self.scale <= LARGEST_SCALE):
            raise UsageError(f"scale must be above 0 and at most {LARGEST_SCALE}, got {self.scale}")


DEFAULT_STYLE = DrawingStyle()
