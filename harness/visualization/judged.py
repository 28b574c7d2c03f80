"""An image twice: the ground truth, and beside it the predictions, coloured by what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.measure.matching import JudgedImage
from harness.visualization.canvas import Drawn, paint
from harness.visualization.panels import side_by_side
from harness.visualization.truth import judged_objects, judged_truth

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, Any]


def draw_judged(
    record: ImageRecord,
    pixels_bgr: Pixels,
    rows: Sequence[tuple[int, Row]],
    predictions: Sequence[Row],
    verdict: JudgedImage,
    names: Mapping[int, str],
    style: DrawingStyle,
) -> Pixels:
    """Ground truth and predictions of an image, side by side.

    Args:
        record: The image.
        pixels_bgr: (H, W, 3) uint8.
        rows: Its annotations, with their positions.
        predictions: All predictions that were judged.
        verdict: On this image.
        names: Of the categories, by id.
        style: How to draw.

    Returns:
        (h, w, 3) uint8, BGR, wider than the image.
    """
    lacking = [row for position, row in rows if position in verdict.false_negatives]
    truth = judged_truth(record, rows, verdict, names, style)
    found = judged_objects(record, predictions, lacking, verdict, names, style)
    return side_by_side(
        [
            ("ground truth", painted(pixels_bgr, truth, style)),
            ("predictions", painted(pixels_bgr, found, style)),
        ]
    )


def painted(pixels_bgr: Pixels, objects: Sequence[Drawn], style: DrawingStyle) -> Pixels:
    """Objects on a copy of an image, as a style has it."""
    return paint(
        pixels_bgr,
        objects,
        scale=style.scale,
        opacity=style.opacity,
        grey_background=style.background == "grey",
    )
