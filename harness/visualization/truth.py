"""Ground truth and judged predictions as objects to be painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.core.run_lengths import Rle
from harness.measure.keypoints import spanned_box
from harness.measure.masks import decode_region, rle_of
from harness.measure.matching import Judged, JudgedImage
from harness.visualization.canvas import Drawn
from harness.visualization.overlays import percent
from harness.visualization.palette import Colour, colour_of
from harness.visualization.skeletons import coco_skeleton

Row = Mapping[str, Any]

#: Colours of the verdicts; distinct under the common kinds of colour blindness, too.
TRUE_POSITIVE, FALSE_POSITIVE = Colour(38, 186, 120), Colour(240, 72, 62)
FALSE_NEGATIVE, IGNORED = Colour(255, 190, 40), Colour(170, 170, 180)
LEGEND = (
    (TRUE_POSITIVE.css, "true positive"),
    (FALSE_POSITIVE.css, "false positive"),
    (FALSE_NEGATIVE.css, "false negative (dashed beside the predictions)"),
    (IGNORED.css, "crowd, or in one: does not count"),
)


def truth_objects(
    record: ImageRecord, rows: Sequence[Row], names: Mapping[int, str], style: DrawingStyle
) -> list[Drawn]:
    """The annotations of an image, the largest first; crowds have dashed boxes."""
    index = {category: number for number, category in enumerate(sorted(names))}
    ordered = sorted(rows, key=lambda row: -float(row["bbox"][2] * row["bbox"][3]))
    drawn = []
    for number, row in enumerate(ordered):
        category = row["category_id"]
        colour = colour_of(index[category] if style.colour_by == "class" else number)
        crowd = bool(row.get("iscrowd", 0))
        text = f"{names[category]} (crowd)" if crowd else names[category]
        drawn.append(_drawn(record, row, colour, text, style, dashed=crowd))
    return drawn


def predicted_objects(
    record: ImageRecord, rows: Sequence[Row], names: Mapping[int, str], style: DrawingStyle
) -> list[Drawn]:
    """Predictions in COCO results form, as they come; the style's threshold is not applied."""
    index = {category: number for number, category in enumerate(sorted(names))}
    drawn = []
    for number, row in enumerate(rows):
        category = row["category_id"]
        colour = colour_of(index[category] if style.colour_by == "class" else number)
        text = f"{names[category]} {percent(float(row['score']))}"
        drawn.append(_drawn(record, row, colour, text, style))
    return drawn


def judged_truth(
    record: ImageRecord,
    rows: Sequence[tuple[int, Row]],
    verdict: JudgedImage,
    *,
    names: Mapping[int, str],
    style: DrawingStyle,
) -> list[Drawn]:
    """The annotations of an image, coloured by what became of them.

    Args:
        rows: With their positions.
    """
    drawn = []
    for position, row in sorted(
        rows, key=lambda one: -float(one[1]["bbox"][2] * one[1]["bbox"][3])
    ):
        crowd, name = bool(row.get("iscrowd", 0)), names[row["category_id"]]
        if crowd:
            drawn.append(_drawn(record, row, IGNORED, f"{name} (crowd)", style, dashed=True))
        elif position in verdict.false_negatives:
            drawn.append(_drawn(record, row, FALSE_NEGATIVE, name, style))
        else:
            drawn.append(_drawn(record, row, TRUE_POSITIVE, name, style))
    return drawn


def judged_objects(
    record: ImageRecord,
    predictions: Sequence[Row],
    lacking: Sequence[Row],
    verdict: JudgedImage,
    *,
    names: Mapping[int, str],
    style: DrawingStyle,
) -> list[Drawn]:
    """The predictions of an image with their verdicts, and where the false negatives are."""
    drawn = []
    for judged in verdict.detections:
        row = predictions[judged.row]
        text = f"{names[row['category_id']]} {percent(float(row['score']))}"
        drawn.append(_drawn(record, row, _colour(judged), text + _reason(judged, names), style))
    for row in lacking:
        # Its name stands beside it in the other picture.
        drawn.append(_drawn(record, {"bbox": row["bbox"]}, FALSE_NEGATIVE, "", style, dashed=True))
    return drawn


def _colour(judged: Judged) -> Colour:
    return {"true positive": TRUE_POSITIVE, "ignored": IGNORED}.get(judged.kind, FALSE_POSITIVE)


def _reason(judged: Judged, names: Mapping[int, str]) -> str:
    match judged.kind:
        case "true positive":
            return ""
        case "ignored":
            return ", in a crowd"
        case "classification":
            assert judged.instead is not None
            return f", is {names[judged.instead]}"
        case "background":
            return ", nothing there"
        case _:
            return f", {judged.kind}"


def _drawn(
    record: ImageRecord,
    row: Row,
    colour: Colour,
    text: str,
    style: DrawingStyle,
    *,
    dashed: bool = False,
) -> Drawn:
    mask = _mask(row, record)
    if "bbox" in row:
        x, y, width, height = row["bbox"]
    else:
        x, y, width, height = spanned_box(row["keypoints"]) if mask is None else _box(mask)
    points = row.get("keypoints")
    return Drawn(
        skeleton=coco_skeleton(points, found="score" in row) if points else None,
        box_xyxy_px=(x, y, x + width, y + height),
        mask=mask,
        colour=colour,
        text=text if style.labels else "",
        box=style.boxes or dashed,
        dashed=dashed,
    )


def _box(mask: Rle) -> tuple[int, int, int, int]:
    """x, y, width and height of the tight box around a mask, px."""
    region = decode_region(mask)
    height, width = region.pixels.shape
    return region.left_px, region.top_px, width, height


def _mask(row: Row, record: ImageRecord) -> Rle | None:
    segmentation = row.get("segmentation")
    if not segmentation:
        return None
    return rle_of(segmentation, record.height_px, record.width_px)
