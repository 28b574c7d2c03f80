"""Detections drawn on their image, and maps of segments: stuff first, things on top of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.architecture import ChannelOrder
from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.drawing import DEFAULT_STYLE, DrawingStyle
from harness.core.errors import UsageError
from harness.core.panoptic import PanopticMap, Segment
from harness.data.given_images import ImageLike, decoded, given_images
from harness.measure.masks import encode_region
from harness.visualization.canvas import Drawn, paint
from harness.visualization.palette import colour_of
from harness.visualization.skeletons import found_skeleton


def draw(
    image_bgr: npt.NDArray[np.uint8],
    detections: Detections,
    names: Sequence[str],
    style: DrawingStyle = DEFAULT_STYLE,
    categories: Sequence[Category] = (),
) -> npt.NDArray[np.uint8]:
    """Return the image with its detections drawn on it.

    Args:
        image_bgr: (h, w, 3) uint8, the frame of the detections.
        names: Names of the classes, by class_index.
        style: How they are drawn.
        categories: By class_index, for the lines between keypoints; without them, COCO's.

    Returns:
        (round(h · scale), round(w · scale), 3) uint8, BGR.

    Raises:
        ValueError: The detections are of another image size, or of classes without a name.
    """
    _require_fitting(image_bgr, detections, names)
    if detections.panoptic is not None:
        objects = _of_map(detections.panoptic, names, style)
    else:
        objects = _of_detections(detections, names, style, categories)
    return paint(
        image_bgr,
        objects,
        scale=style.scale,
        opacity=style.opacity,
        grey_background=style.background == "grey",
    )


def _of_detections(
    detections: Detections,
    names: Sequence[str],
    style: DrawingStyle,
    categories: Sequence[Category],
) -> list[Drawn]:
    """The detections that score enough."""
    chosen = np.flatnonzero(detections.scores >= style.threshold)
    return [
        _drawn(detections, row, position, names=names, style=style, categories=categories)
        for position, row in enumerate(chosen.tolist())
    ]


def _of_map(found: PanopticMap, names: Sequence[str], style: DrawingStyle) -> list[Drawn]:
    """The stuff of a map, and its things that score enough."""
    shown = [
        ShownSegment(
            number=one.segment_id,
            is_thing=one.is_thing,
            class_number=one.class_index + (0 if one.is_thing else len(names)),
            text=_label(one, found.stuff, names),
        )
        for one in found.segments
        if one.score is None or one.score >= style.threshold
    ]
    return segment_objects(found.ids, shown, style)


def _label(one: Segment, stuff: Sequence[Category], names: Sequence[str]) -> str:
    if not one.is_thing:
        return stuff[one.class_index - 1].name if stuff else f"stuff {one.class_index}"
    name = names[one.class_index]
    return name if one.score is None else f"{name} {percent(one.score)}"


def percent(score: float) -> str:
    """A score as labels show it: never rounded up to a certainty that is none."""
    return f"{min(math.floor(score * 100 + 0.5), 99 if score < 1 else 100)}%"


def _drawn(
    detections: Detections,
    row: int,
    position: int,
    *,
    names: Sequence[str],
    style: DrawingStyle,
    categories: Sequence[Category],
) -> Drawn:
    index = int(detections.class_index[row])
    x1, y1, x2, y2 = (float(side) for side in detections.boxes_xyxy_px[row])
    skeleton = None
    if detections.keypoints is not None:
        bones = categories[index].skeleton if categories else None
        skeleton = found_skeleton(detections.keypoints[row], bones)
    return Drawn(
        skeleton=skeleton,
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


def picture_of(
    image: ImageLike | None,
    detections: Detections,
    style: DrawingStyle,
    *,
    channel_order: ChannelOrder | None,
) -> PillowImage.Image:
    """The image with its detections, RGB.

    Args:
        image: What the detections are of; None for the file that they name.
        detections: With categories.
        style: How they are drawn.
        channel_order: Channel order of an array.

    Raises:
        UsageError: There is no such image, or it has another size.
        IntegrityError: The image cannot be decoded.
    """
    given = detections.source if image is None else image
    if given is None:
        raise UsageError("these detections are of an array: give it with channel_order")
    images = list(given_images(given))
    if len(images) != 1:
        raise UsageError(f"{given} are {len(images)} images; detections are of one")
    pixels = decoded(images[0], channel_order)
    if detections.size_px not in (None, pixels.shape[:2]):
        height, width = pixels.shape[:2]
        raise UsageError(
            f"the image is {width} × {height} px, the detections are of one of "
            f"{detections.size_px[1]} × {detections.size_px[0]} px"
        )
    names = [category.name for category in detections.categories]
    drawn = draw(pixels, detections, names, style, detections.categories)
    return PillowImage.fromarray(drawn[:, :, ::-1].copy())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSegment:
    """One segment of a map, and what is written on it."""

    number: int
    """Its number in the map."""

    is_thing: bool
    """Whether it is a single object."""

    class_number: int
    """The same for all of its category."""

    text: str
    """Its label."""


def segment_objects(
    ids: npt.NDArray[np.int32], segments: Iterable[ShownSegment], style: DrawingStyle
) -> list[Drawn]:
    """The segments of a map, each without a box: together they cover the image.

    Args:
        ids: (H, W), the number of each pixel's segment.
        segments: Those that are drawn; one without a pixel is left out.
        style: How to draw. Of stuff the colour is always that of its category.
    """
    ordered = sorted(segments, key=lambda one: one.is_thing)
    drawn = []
    for position, one in enumerate(ordered):
        where = ids == one.number
        rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        mask = encode_region(
            where[top:bottom, left:right],
            top_px=top,
            left_px=left,
            height_px=ids.shape[0],
            width_px=ids.shape[1],
        )
        by_class = style.colour_by == "class" or not one.is_thing
        drawn.append(
            Drawn(
                box_xyxy_px=(float(left), float(top), float(right), float(bottom)),
                mask=mask,
                colour=colour_of(one.class_number if by_class else position),
                text=one.text if style.labels else "",
                box=False,
            )
        )
    return drawn
