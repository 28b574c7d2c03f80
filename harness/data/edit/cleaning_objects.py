"""One annotation corrected: its mask, its box, its area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.errors import IntegrityError
from harness.data.coco import finite, segmentation_fault
from harness.data.convert.geometry import area, clipped, extent_xyxy, object_area
from harness.data.convert.source_annotations import Tally
from harness.data.fields import flag_of, number_of
from harness.measure.masks import area_px, box_xywh_px, rle_of, usable_polygons

#: A box may be this much off its mask before it is wrong. COCO's own differ by rounding: up to
#: 1.0 px in the 206 images of val2017 that the tests use, where nothing may change.
BOX_PX = 1.5

#: An area may be this share off both the mask's pixels and its polygons' area.
AREA_SHARE = 0.05
AREA_PX = 2.0


def cleaned_object(
    row: Mapping[str, Any],
    size: tuple[int, int],
    where: str,
    tally: Tally,
    *,
    masks_wanted: bool,
) -> dict[str, Any] | None:
    """The annotation with mask, box, area and iscrowd in order.

    Args:
        row: As in the file, of a listed image and category.
        size: (height, width) of its image, px.
        where: The annotation, for reports.
        tally: What is changed is counted here.
        masks_wanted: Whether an object that is only a box is none.

    Returns:
        The row; None, and counted, where it is not an object.

    Raises:
        IntegrityError: Its iscrowd says neither yes nor no.
    """
    kept = {**row, "iscrowd": int(_crowd(row, where))}
    if "bbox" in kept:
        kept["bbox"] = _numbers(kept["bbox"], where, tally)
    if not has_mask(row.get("segmentation")):
        if masks_wanted:
            degenerate = "a degenerate" if row.get("segmentation") else "an empty"
            tally.drop(f"with {degenerate} segmentation", where)
            return None
        if kept.pop("segmentation", None):
            tally.note("objects whose polygons do not count: their boxes are kept", where)
        return _boxed(kept, size, where, tally)
    segmentation = _segmentation(row["segmentation"], size, where, tally)
    return None if segmentation is None else _measured(kept, segmentation, size, where, tally)


def has_mask(segmentation: Any) -> bool:
    """Whether there is anything that may be a mask: run lengths, or a polygon that counts.

    What is neither, such as text or polygons of text, counts as one, to be refused by name.
    """
    if not isinstance(segmentation, list):
        return bool(segmentation)
    if not all(isinstance(one, list) for one in segmentation):
        return bool(segmentation)
    return bool(usable_polygons(segmentation))


def _crowd(row: Mapping[str, Any], where: str) -> bool:
    try:
        return flag_of(row.get("iscrowd"))
    except ValueError as error:
        raise IntegrityError(f"{where}: iscrowd {error}", hint="expected 0 or 1") from None


def _numbers(given: Any, where: str, tally: Tally) -> Any:
    """A box with numbers where it has them as text; anything else as it is."""
    if not isinstance(given, list) or not any(isinstance(one, str) for one in given):
        return given
    try:
        numbers = [number_of(one) for one in given]
    except ValueError:
        return given
    tally.note("box(es) of text made numbers", where)
    return [int(one) if one.is_integer() else one for one in numbers]


def _measured(
    row: dict[str, Any],
    segmentation: list[list[float]] | dict[str, Any],
    size: tuple[int, int],
    where: str,
    tally: Tally,
) -> dict[str, Any] | None:
    """The annotation with this mask, and with a box and an area that fit it."""
    rle = rle_of(segmentation, *size)
    pixels = area_px(rle)
    if not pixels:
        tally.drop("whose mask covers no pixel", where)
        return None
    row["segmentation"] = segmentation
    box, enclosed = box_xywh_px(rle), float(pixels)
    if isinstance(segmentation, list):
        left, top, right, bottom = extent_xyxy(segmentation)
        box, enclosed = [left, top, right - left, bottom - top], object_area(segmentation, pixels)
    if not _is_near(row.get("bbox"), box):
        tally.note("box(es) computed again around their masks", where)
        row["bbox"] = [round(side, 3) for side in box]
    # COCO's own crowds have areas of their own; nothing depends on them.
    rights = [float(pixels), enclosed, *([row["area"]] if row["iscrowd"] and "area" in row else [])]
    if not any(_is_area(row.get("area"), right) for right in rights):
        tally.note("areas measured again on their masks", where)
        row["area"] = round(enclosed, 3)
    return row


def _segmentation(
    found: Any, size: tuple[int, int], where: str, tally: Tally
) -> list[list[float]] | dict[str, Any] | None:
    """The mask inside its image; None, and counted, where there is none."""
    if segmentation_fault(found, *size):
        tally.drop("whose segmentation cannot be read in its image", where)
        return None
    if isinstance(found, dict):
        return found
    whole = usable_polygons(found)
    if len(whole) < len(found):
        tally.note("objects that lost a degenerate part", where)
    inside = [polygon for one in whole if (polygon := _inside(one, size))]
    if not inside:
        tally.drop("without an area inside their image", where)
        return None
    if inside != whole:
        tally.note("objects cut at the border of their image", where)
    return inside


def _inside(polygon: list[float], size: tuple[int, int]) -> list[float]:
    """A polygon that is in its image as it is, another one cut; empty where nothing is left."""
    height, width = size
    left, top, right, bottom = extent_xyxy([polygon])
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return polygon if area(polygon) > 0 else []
    return [round(number, 3) for number in clipped(polygon, height, width)]


def _boxed(
    row: dict[str, Any], size: tuple[int, int], where: str, tally: Tally
) -> dict[str, Any] | None:
    """An object that is only a box, cut at its image."""
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not finite(box):
        tally.drop("without a segmentation and without a box", where)
        return None
    x, y, width, height = box
    if width <= 0 or height <= 0:
        tally.drop("whose box has no area", where)
        return None
    left, right = max(x, 0), min(x + width, size[1])
    top, bottom = max(y, 0), min(y + height, size[0])
    if right <= left or bottom <= top:
        tally.drop("without an area inside their image", where)
        return None
    cut = [left, top, right - left, bottom - top]
    if not _is_near(box, cut):
        tally.note("objects cut at the border of their image", where)
        row["bbox"] = cut
    if not _is_area(row.get("area"), cut[2] * cut[3]):
        tally.note("areas of boxes computed again", where)
        row["area"] = cut[2] * cut[3]
    return row


def _is_near(given: Any, right: Sequence[float]) -> bool:
    if not isinstance(given, list) or len(given) != 4 or not finite(given):
        return False
    if given[2] <= 0 or given[3] <= 0:
        return False
    ends = (given[0], given[1], given[0] + given[2], given[1] + given[3])
    wanted = (right[0], right[1], right[0] + right[2], right[1] + right[3])
    return all(abs(one - other) <= BOX_PX for one, other in zip(ends, wanted, strict=True))


def _is_area(given: Any, right: float) -> bool:
    if not isinstance(given, (int, float)) or not finite([given]) or given <= 0:
        return False
    return abs(given - right) <= max(AREA_SHARE * right, AREA_PX)
