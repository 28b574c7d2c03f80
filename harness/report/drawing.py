"""Detections drawn on their image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.core.detections import Detections
from harness.core.errors import UsageError
from harness.report.canvas import Drawn, paint
from harness.report.colours import colour_of

Background = Literal["colour", "grey"]
BACKGROUNDS: tuple[Background, ...] = ("colour", "grey")
ColourBy = Literal["instance", "class"]
COLOUR_BY: tuple[ColourBy, ...] = ("instance", "class")


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
        for name, known in (("background", BACKGROUNDS), ("colour_by", COLOUR_BY)):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"{name.replace('_', ' ')} must be {' or '.join(known)}, "
                    f"got {getattr(self, name)!r}"
                )
        for name in ("opacity", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not (math.isfinite(self.scale) and 0 < self.scale <= 16):
            raise UsageError(f"scale must be above 0 and at most 16, got {self.scale}")


def draw(
    image_bgr: npt.NDArray[np.uint8],
    detections: Detections,
    names: Sequence[str],
    style: DrawingStyle = DrawingStyle(),
) -> npt.NDArray[np.uint8]:
    """The image with its detections: (round(h · scale), round(w · scale), 3) uint8, BGR.

    image_bgr: (h, w, 3), the frame of the detections. names: of classes, by class_index. ValueError
    where detections are not of this image's size, or of classes without a name.
    """
    _require_fitting(image_bgr, detections, names)
    chosen = np.flatnonzero(detections.scores >= style.threshold)
    objects = [
        _drawn(detections, row, position, names, style)
        for position, row in enumerate(chosen.tolist())
    ]
    return paint(
        image_bgr,
        objects,
        scale=style.scale,
        opacity=style.opacity,
        grey_background=style.background == "grey",
    )


def percent(score: float) -> str:
    """A score as labels show it: never rounded up to a certainty that is none."""
    return f"{min(math.floor(score * 100 + 0.5), 99 if score < 1 else 100)}%"


def _drawn(
    detections: Detections, row: int, position: int, names: Sequence[str], style: DrawingStyle
) -> Drawn:
    index = int(detections.class_index[row])
    x1, y1, x2, y2 = (float(side) for side in detections.boxes_xyxy_px[row])
    return Drawn(
        box_xyxy_px=(x1, y1, x2, y2),
        mask=None if detections.masks is None else detections.masks[row],
        colour=colour_of(index if style.colour_by == "class" else position),
        text=f"{names[index]} {percent(float(detections.scores[row]))}" if style.labels else "",
        box=style.boxes,
    )


def _require_fitting(
    image_bgr: npt.NDArray[np.uint8], detections: Detections, names: Sequence[str]
) -> None:
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8:
        raise ValueError(f"an image is (h, w, 3) uint8, got {image_bgr.shape} {image_bgr.dtype}")
    classes = sorted(set(detections.class_index.tolist()))
    nameless = [index for index in classes if not 0 <= index < len(names)]
    if nameless:
        raise ValueError(f"class {nameless[0]} has no name: there are {len(names)}")
    for mask in detections.masks or ():
        if (mask.height_px, mask.width_px) != image_bgr.shape[:2]:
            raise ValueError(
                f"a mask of {mask.height_px} × {mask.width_px} px on an image of "
                f"{image_bgr.shape[0]} × {image_bgr.shape[1]} px"
            )
