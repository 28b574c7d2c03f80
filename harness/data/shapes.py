"""The outlines of the synthetic categories, as polygons in a unit square around the origin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

#: COCO-like category ids (with gaps, as COCO has) and names.
SHAPES = {
    1: "circle",
    2: "square",
    4: "triangle",
    5: "star",
    7: "ring",
    8: "cross",
    10: "capsule",
    11: "crescent",
}


def outlines(name: str) -> list[Points]:
    """Closed polygons (n, 2) with |x|, |y| ≤ 1; a second one is a hole in the first."""
    match name:
        case "circle":
            return [_arc(0, 360, 40)]
        case "square":
            return [np.array([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]])]
        case "triangle":
            return [_arc(-90, 270, 4)[:3]]
        case "star":
            radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)[:, None]
            return [_arc(-90, 270, 11)[:10] * radii]
        case "ring":
            return [_arc(0, 360, 40), _arc(0, 360, 40) * 0.5]
        case "cross":
            return [_cross(0.32)]
        case "capsule":
            right, left = _arc(-90, 90, 14) * 0.4, _arc(90, 270, 14) * 0.4
            return [np.concatenate((right + [0.6, 0.0], left - [0.6, 0.0]))]
        case "crescent":
            # Outer circle of radius 1, inner one of radius 0.8 shifted by 0.5: they meet at ±64.5°.
            outer, inner = _arc(62, 298, 30), _arc(252.5, 107.5, 24) * 0.8 + [0.5, 0.0]
            return [np.concatenate((outer, inner))]
        case _:
            raise ValueError(f"no such shape: {name}")


def _arc(start_deg: float, end_deg: float, count: int) -> Points:
    """``count`` points of the unit circle from start to end, both included."""
    angles = np.radians(np.linspace(start_deg, end_deg, count))
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def _cross(half_width: float) -> Points:
    w = half_width
    return np.array(
        [[-w, -1], [w, -1], [w, -w], [1, -w], [1, w], [w, w]]
        + [[w, 1], [-w, 1], [-w, w], [-1, w], [-1, -w], [-w, -w]]
    )
