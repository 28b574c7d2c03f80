"""A picture that objects are painted on: masks, boxes, skeletons, labels, in the object's colour.

Pixels stay in the order they come in: a BGR picture is handed to Pillow as it is, and colours are
turned around instead, which spares two copies of every image. Labels are placed so that none covers
another while there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFilter

from harness.core.run_lengths import Rle
from harness.measure.masks import Region, decode_region
from harness.visualization.fonts import length_px, lettering, one_line, text_px, write
from harness.visualization.label_placement import place_labels
from harness.visualization.palette import BLACK, Colour
from harness.visualization.skeletons import Skeleton, paint_skeleton

#: Of the short edge of a picture: the width of lines, and its limits.
LINE_SHARE, LINE_LIMITS_PX = 1 / 320, (1, 8)

#: Luma of blue, green and red (Rec. 601), as a matrix for Pillow.
GREY_OF_BGR = (0.114, 0.587, 0.299, 0.0)

#: Space around letters, of their height.
PLATE_PADDING = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One object to be painted."""

    box_xyxy_px: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the original image."""

    mask: Rle | None
    """Mask of the original image; None for a network without masks."""

    colour: Colour
    """Colour of box, mask and label."""

    text: str = ""
    """Label; empty for none."""

    box: bool = True
    """Whether its box is drawn."""

    dashed: bool = False
    """Whether the lines of the box are dashed."""

    skeleton: Skeleton | None = None
    """Its keypoints; None for a network without them."""


def paint(
    image_bgr: npt.NDArray[np.uint8],
    objects: Sequence[Drawn],
    *,
    scale: float = 1.0,
    opacity: float = 0.5,
    grey_background: bool = False,
) -> npt.NDArray[np.uint8]:
    """(round(h · scale), round(w · scale), 3) uint8 BGR: the image with the objects on it.

    Large objects are painted first, so that small ones stay visible; labels of earlier objects
    choose their places first.
    """
    canvas = PillowImage.fromarray(image_bgr)
    height, width = image_bgr.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    if size != canvas.size:
        canvas = canvas.resize(size, PillowImage.Resampling.BICUBIC)
    masks = [None if one.mask is None else _scaled(one.mask, size) for one in objects]
    if grey_background:
        canvas = _greyed(canvas, objects, masks, scale)
    line_px = _within(LINE_SHARE * min(size), LINE_LIMITS_PX)
    order = sorted(range(len(objects)), key=lambda number: -_extent(objects[number]))
    for number in order:
        mask = masks[number]
        if mask is not None and mask.pixels.size:
            _paint_mask(canvas, mask, objects[number].colour, opacity, line_px)
    pen = ImageDraw.Draw(canvas)
    for number in order:
        if objects[number].box:
            _paint_box(pen, objects[number], scale, max(round(line_px), 2))
    for one in (objects[number] for number in order):
        if one.skeleton is not None:
            width, dark = max(round(line_px), 2), _bgr(one.colour.mixed(BLACK, 0.6))
            paint_skeleton(pen, one.skeleton, scale, width, ink=_bgr(one.colour), dark=dark)
    _paint_labels(pen, objects, scale, size)
    return np.asarray(canvas)


def _extent(one: Drawn) -> float:
    x1, y1, x2, y2 = one.box_xyxy_px
    return (x2 - x1) * (y2 - y1)


def _within(value: float, limits: tuple[int, int]) -> float:
    return min(max(value, limits[0]), limits[1])


def _scaled(mask: Rle, size: tuple[int, int]) -> Region:
    """Return the region of a mask in a drawing of another size.

    Args:
        size: (width, height) of the drawing in pixels.

    Returns:
        Pixels of the region, (h, w) uint8, 255 where the mask is true.
    """
    region = decode_region(mask)
    grey = np.ascontiguousarray(region.pixels, dtype=np.uint8) * np.uint8(255)
    if size == (mask.width_px, mask.height_px) or not grey.size:
        return Region(grey, region.top_px, region.left_px)
    across, down = size[0] / mask.width_px, size[1] / mask.height_px
    top, left = round(region.top_px * down), round(region.left_px * across)
    rows, columns = grey.shape
    bottom = max(round((region.top_px + rows) * down), top + 1)
    right = max(round((region.left_px + columns) * across), left + 1)
    # The picture's pixels in the frame of the region, so that nothing shifts by a part of one.
    frame = (
        left / across - region.left_px,
        top / down - region.top_px,
        right / across - region.left_px,
        bottom / down - region.top_px,
    )
    inside = tuple(
        min(max(one, 0.0), side) for one, side in zip(frame, (columns, rows) * 2, strict=True)
    )
    scaled = PillowImage.fromarray(grey).resize(
        (right - left, bottom - top), PillowImage.Resampling.BILINEAR, box=inside
    )
    return Region(np.asarray(scaled), top, left)


def _greyed(
    canvas: PillowImage.Image,
    objects: Sequence[Drawn],
    masks: Sequence[Region | None],
    scale: float,
) -> PillowImage.Image:
    """The picture without colour but for what is inside masks, or boxes where there are none."""
    grey = canvas.convert("L", GREY_OF_BGR).convert("RGB")
    for one, mask in zip(objects, masks, strict=True):
        if mask is None:
            left, top, right, bottom = (round(side * scale) for side in one.box_xyxy_px)
            box = (left, top, right, bottom)
            grey.paste(canvas.crop(box), box[:2])
        elif mask.pixels.size:
            rows, columns = mask.pixels.shape
            box = (mask.left_px, mask.top_px, mask.left_px + columns, mask.top_px + rows)
            grey.paste(canvas.crop(box), box, PillowImage.fromarray(mask.pixels))
    return grey


def _paint_mask(
    canvas: PillowImage.Image, mask: Region, colour: Colour, opacity: float, line_px: float
) -> None:
    """A transparent fill and a smooth contour.

    A blur turns the edge of the mask into a ramp: its middle, half inside, is the contour.
    """
    radius = line_px / 2
    margin = int(radius) + 2
    padded = np.pad(mask.pixels, margin)
    soft = PillowImage.fromarray(padded).filter(ImageFilter.BoxBlur(radius))
    ink = PillowImage.fromarray(_ramp(opacity)[np.asarray(soft)])
    left, top = mask.left_px - margin, mask.top_px - margin
    canvas.paste(_bgr(colour), (left, top, left + ink.width, top + ink.height), ink)


@lru_cache(maxsize=16)
def _ramp(opacity: float) -> npt.NDArray[np.uint8]:
    """How opaque fill and contour together are at each level of a blurred mask."""
    level = np.arange(256) / 255
    contour = np.minimum(5.0 * level * (1 - level), 1.0)
    ramp: npt.NDArray[np.uint8] = np.rint(255 * (1 - (1 - opacity * level) * (1 - contour))).astype(
        np.uint8
    )
    return ramp


def _paint_box(pen: ImageDraw.ImageDraw, one: Drawn, scale: float, line_px: int) -> None:
    """A frame in the object's colour with a dark line around it: visible on any ground."""
    x1, y1, x2, y2 = (round(side * scale) for side in one.box_xyxy_px)
    x2, y2 = max(x2 - 1, x1), max(y2 - 1, y1)
    dark, ink = _bgr(one.colour.mixed(BLACK, 0.6)), _bgr(one.colour)
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=dark, width=1)
    if not one.dashed:
        pen.rectangle((x1, y1, x2, y2), outline=ink, width=line_px)
        return
    pen.rectangle((x1, y1, x2, y2), outline=dark, width=line_px)
    step = 4 * line_px
    for x in range(x1, x2, 2 * step):
        end = min(x + step, x2)
        pen.rectangle((x, y1, end, min(y1 + line_px - 1, y2)), fill=ink)
        pen.rectangle((x, max(y2 - line_px + 1, y1), end, y2), fill=ink)
    for y in range(y1, y2, 2 * step):
        end = min(y + step, y2)
        pen.rectangle((x1, y, min(x1 + line_px - 1, x2), end), fill=ink)
        pen.rectangle((max(x2 - line_px + 1, x1), y, x2, end), fill=ink)


def _paint_labels(
    pen: ImageDraw.ImageDraw, objects: Sequence[Drawn], scale: float, size: tuple[int, int]
) -> None:
    labelled = [one for one in objects if one.text]
    if not labelled:
        return
    letters_px = text_px(len(labelled), min(size))
    written = [lettering(one_line(one.text), letters_px) for one in labelled]
    gap = max(round(PLATE_PADDING * letters_px), 1)
    sizes = [
        (round(length_px(text, font)) + 3 * gap, sum(font.getmetrics()) + gap // 2)
        for text, font in written
    ]
    boxes = np.array([one.box_xyxy_px for one in labelled], dtype=np.float64) * scale
    places = place_labels(boxes, sizes, height_px=size[1], width_px=size[0])
    # The most important last: where a label must cover another, it is the better one.
    for number in reversed(range(len(labelled))):
        place, colour = places[number], labelled[number].colour
        if place is None:
            continue
        (left, top), (width, height) = place, sizes[number]
        plate = (left, top, left + width - 1, top + height - 1)
        dark = _bgr(colour.mixed(BLACK, 0.5))
        pen.rounded_rectangle(plate, radius=gap, fill=_bgr(colour), outline=dark)
        start = (left + 1.5 * gap, top + gap / 4)
        text, font = written[number]
        write(pen, start, text, font, _bgr(colour.ink))


def _bgr(colour: Colour) -> tuple[int, int, int]:
    return colour.blue, colour.green, colour.red
