"""Pictures side by side: any under their captions, and ground truth beside judged predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw

from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.measure.matching import JudgedImage
from harness.visualization.canvas import Drawn, paint
from harness.visualization.fonts import lettering, one_line, text_px
from harness.visualization.truth import judged_objects, judged_truth

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, Any]


def draw_judged(
    record: ImageRecord,
    pixels_bgr: Pixels,
    rows: Sequence[tuple[int, Row]],
    predictions: Sequence[Row],
    verdict: JudgedImage,
    *,
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
        names: Names of the categories, by id.
        style: How to draw.

    Returns:
        (h, w, 3) uint8, BGR, wider than the image.
    """
    lacking = [row for position, row in rows if position in verdict.false_negatives]
    truth = judged_truth(record, rows, verdict, names=names, style=style)
    found = judged_objects(record, predictions, lacking, verdict, names=names, style=style)
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


#: Ground of captions and gaps, and their ink; BGR, but they are grey.
GROUND, INK = (24, 24, 24), (235, 235, 235)

#: Of the height of letters: the height of a caption, and the gap between pictures.
CAPTION_ROWS, GAP_ROWS = 1.7, 0.5


def side_by_side(
    pictures: Sequence[tuple[str, npt.NDArray[np.uint8]]],
) -> npt.NDArray[np.uint8]:
    """(caption, picture of one size)…, left to right, as one BGR picture."""
    height, width = pictures[0][1].shape[:2]
    letters = text_px(1, min(height, width))
    top, gap = round(CAPTION_ROWS * letters), max(round(GAP_ROWS * letters), 2)
    whole = PillowImage.new("RGB", (len(pictures) * (width + gap) - gap, height + top), GROUND)
    pen = ImageDraw.Draw(whole)
    for number, (caption, picture) in enumerate(pictures):
        left = number * (width + gap)
        whole.paste(PillowImage.fromarray(picture), (left, top))
        place = (left + letters // 2, top / 2)
        text, font = lettering(one_line(caption), letters)
        pen.text(place, text, fill=INK, font=font, anchor="lm")
    return np.asarray(whole)


def below_each_other(pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Pictures of any size, one below the other at the left edge, as one BGR picture."""
    gap = max(round(pictures[0].shape[0] / 40), 2)
    width = max(picture.shape[1] for picture in pictures)
    height = sum(picture.shape[0] + gap for picture in pictures) - gap
    whole = np.empty((height, width, 3), dtype=np.uint8)
    whole[:] = GROUND
    top = 0
    for picture in pictures:
        whole[top : top + picture.shape[0], : picture.shape[1]] = picture
        top += picture.shape[0] + gap
    return whole
