"""What the service returns about images, as it is in the JSON; masks also as polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.core.dataset import Category
from harness.core.detections import Detections
from harness.core.panoptic import PanopticMap, Segment, category_of_segment
from harness.core.run_lengths import Rle
from harness.core.shortest_digits import shortest
from harness.measure.masks import areas_px, decode_region, encode_region, union_px
from harness.serve.images import Header

#: The docstrings of fields are their descriptions in the OpenAPI schema.
FIELDS_DESCRIBED = {"use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A mask in COCO's compressed run-length encoding."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    size: tuple[int, int]
    """(height, width) of the image, px."""

    counts: str
    """The runs, as COCO's string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One object, in pixels of the upright image.

    ``category_id``, ``bbox``, ``score`` and ``segmentation`` are those of COCO's results format.
    """

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    category_id: int
    """As in the data set the model was trained on."""

    bbox: tuple[float, float, float, float]
    """(x, y, width, height), px."""

    score: float
    """0 to 1."""

    segmentation: Mask | None
    """None from a network without masks."""

    category: str
    """The name of the category."""

    box_xyxy_px: tuple[float, float, float, float]
    """(x1, y1, x2, y2); x2 and y2 are exclusive."""

    area_px: int | None
    """Pixels of the mask; None from a network without masks."""

    polygons: tuple[tuple[int, ...], ...] | None = None
    """The mask's outlines x, y, x, y, … in px; None unless requested."""

    keypoints: tuple[float, ...] | None = None
    """x, y, score, x, y, score, … as in COCO's results, in px of which 0 is the middle of the
    first; None from a network without keypoints.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Pixels under the masks of one category."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    category_id: int
    """As in the data set the model was trained on."""

    category: str
    """Its name."""

    objects: int
    """How many masks."""

    pixels: int
    """Pixels under any of them."""

    share: float
    """``pixels`` as a share of the image, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Pixels under any mask; a pixel where masks overlap counts once."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    pixels: int
    """How many."""

    share: float
    """As a share of the image, 0 to 1."""

    by_category: tuple[Share, ...]
    """Those of each category; their sum may be larger than the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSegment:
    """One segment of a map in which each pixel is of one segment, or of none."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    segment_id: int
    """Its number in the map, from 1."""

    category_id: int
    """As in the data set the model was trained on."""

    category: str
    """The name of the category."""

    isthing: bool
    """Whether it is one object; otherwise it is all there is of a kind of stuff."""

    score: float | None
    """0 to 1, of the object; None for stuff."""

    area_px: int
    """How many pixels it has."""

    segmentation: Mask
    """Its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureAnswer:
    """Everything about one image."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    name: str
    """The name the client gave it."""

    format: str
    """Pillow's name of the format."""

    width_px: int
    """Upright."""

    height_px: int
    """Upright."""

    notes: tuple[str, ...]
    """What was changed in decoding that its sender may not expect."""

    threshold: float
    """Objects with a lower score are not listed."""

    found: int
    """How many objects the network found, at any score."""

    detections: tuple[Detection, ...]
    """The listed objects, best score first."""

    masked: Masked | None
    """Of the listed objects; None from a network without masks."""

    timing_s: dict[str, float]
    """Seconds by phase; ``wait`` is the time before the engine was free."""

    segments: tuple[FoundSegment, ...] | None = None
    """Those of the map of segments, without objects of a lower score than ``threshold``; None from
    a network that makes no such map.
    """

    picture: str | None = None
    """The image as it was decoded, upright, as a data: URL; None unless requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model and the engine that computed the answer."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    name: str
    """Of the model."""

    checkpoint_sha256: str
    """Of the weights, hexadecimal."""

    checkpoint_pinned: bool
    """Whether the lock file names these weights."""

    engine: str
    """Name of the engine."""

    engine_version: str
    """Of the package that computes."""

    device: str
    """Product name of the device."""

    precision: str
    """Arithmetic of the network."""

    harness_version: str
    """Of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one request."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = FIELDS_DESCRIBED

    model: ModelFacts
    """What computed it."""

    pictures: tuple[PictureAnswer, ...]
    """One an image, in the order they were sent."""

    total_s: float
    """Seconds of decoding and inference, all images together."""


def at_least(detections: Detections, threshold: float) -> Detections:
    """Return the detections of ``threshold`` and above.

    Args:
        detections: Detections of one image.
        threshold: The lowest score that is kept.

    Returns:
        Those that are kept, in their order.
    """
    if bool((detections.scores >= threshold).all()):
        return detections
    return detections.above(threshold)


def picture_answer(
    name: str,
    header: Header,
    detections: Detections,
    categories: Sequence[Category],
    *,
    threshold: float,
    polygons: bool,
    timing_s: Mapping[str, float],
) -> PictureAnswer:
    """Return the answer for one image.

    Args:
        name: The name the client gave it.
        header: Header of the file.
        detections: All that the network found.
        categories: By class index.
        threshold: Objects with a lower score are not listed.
        polygons: Whether outlines of masks are listed.
        timing_s: Seconds by phase.
    """
    shown = at_least(detections, threshold)
    size = (header.height_px, header.width_px)
    return PictureAnswer(
        name=name,
        format=header.format,
        width_px=header.width_px,
        height_px=header.height_px,
        notes=header.notes,
        threshold=threshold,
        found=len(detections),
        detections=_listed(shown, categories, polygons),
        masked=masked_of(shown, categories, size),
        segments=segments_of(detections.panoptic, categories, threshold),
        timing_s={phase: round(seconds, 6) for phase, seconds in timing_s.items()},
    )


def masked_of(
    detections: Detections, categories: Sequence[Category], size: tuple[int, int]
) -> Masked | None:
    """Count the pixels of an image that are under masks.

    Args:
        detections: Detections of one image.
        categories: By class index.
        size: (height, width) of the image, px.

    Returns:
        The counts; None from a network without masks.
    """
    if detections.masks is None:
        return None
    whole = size[0] * size[1]
    by_class: dict[int, list[Rle]] = {}
    for index, mask in zip(detections.class_index.tolist(), detections.masks, strict=True):
        by_class.setdefault(index, []).append(mask)
    pixels = union_px(detections.masks)
    return Masked(
        pixels=pixels,
        share=pixels / whole,
        by_category=tuple(
            Share(
                category_id=categories[index].category_id,
                category=categories[index].name,
                objects=len(masks),
                pixels=covered,
                share=covered / whole,
            )
            for index, masks in sorted(by_class.items())
            for covered in [union_px(masks)]
        ),
    )


def segments_of(
    found: PanopticMap | None, categories: Sequence[Category], threshold: float
) -> tuple[FoundSegment, ...] | None:
    """List the segments of a map: all stuff, and the things that score enough, as they are drawn.

    Args:
        found: The map, with its kinds of stuff; None from a network that makes none.
        categories: By class index.
        threshold: Things with a lower score are not listed.

    Returns:
        In the order they were put into the map; None without one.
    """
    if found is None:
        return None
    return tuple(
        _segment(found, one, category_of_segment(one, categories, found.stuff))
        for one in found.segments
        if one.score is None or one.score >= threshold
    )


def _segment(found: PanopticMap, one: Segment, category: Category) -> FoundSegment:
    height, width = found.ids.shape
    pixels = found.ids == one.segment_id
    rle = encode_region(pixels, top_px=0, left_px=0, height_px=height, width_px=width)
    return FoundSegment(
        segment_id=one.segment_id,
        category_id=category.category_id,
        category=category.name,
        isthing=one.is_thing,
        score=None if one.score is None else shortest(np.array([one.score], dtype=np.float32))[0],
        area_px=int(pixels.sum()),
        segmentation=_mask(rle),
    )


def _listed(
    detections: Detections, categories: Sequence[Category], polygons: bool
) -> tuple[Detection, ...]:
    boxes = detections.boxes_xyxy_px
    # Subtracted in float32, as for predictions of an evaluation.
    sides = shortest((boxes[:, 2:] - boxes[:, :2]).ravel())
    corners, scores = shortest(boxes.ravel()), shortest(detections.scores)
    masks = detections.masks
    areas = None if masks is None else areas_px(masks)
    listed = []
    for row, index in enumerate(detections.class_index.tolist()):
        x1, y1, x2, y2 = corners[4 * row : 4 * row + 4]
        width, height = sides[2 * row : 2 * row + 2]
        listed.append(
            Detection(
                category_id=categories[index].category_id,
                bbox=(x1, y1, width, height),
                score=scores[row],
                segmentation=None if masks is None else _mask(masks[row]),
                category=categories[index].name,
                box_xyxy_px=(x1, y1, x2, y2),
                area_px=None if areas is None else areas[row],
                polygons=_polygons(masks[row]) if polygons and masks is not None else None,
                keypoints=detections.coco_keypoints(row),
            )
        )
    return tuple(listed)


def _mask(rle: Rle) -> Mask:
    return Mask(size=(rle.height_px, rle.width_px), counts=rle.counts)


def _polygons(rle: Rle) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(polygon) for polygon in outlines(rle))


Point = tuple[int, int]


def outlines(mask: Rle) -> list[list[int]]:
    """Trace the outlines of a mask.

    Corners are corners of pixels: filled by the even-odd rule, the outlines are the mask exactly.
    COCO's polygons have no holes: a reader that forms their union fills the holes.

    Args:
        mask: In pixels of the image.

    Returns:
        Closed outlines x, y, x, y, … in px; of a hole too, in the opposite direction.
    """
    region = decode_region(mask)
    ways = _edges(np.pad(region.pixels, 1).astype(np.int8))
    found = []
    while ways:
        start = next(iter(ways))
        loop = _loop(ways, start)
        found.append(
            [
                number
                for x, y in _corners(loop)
                for number in (x - 1 + region.left_px, y - 1 + region.top_px)
            ]
        )
    return found


def _edges(pixels: np.ndarray) -> dict[Point, list[Point]]:
    """Return the next corners from each corner (x, y), with the mask on the right-hand side."""
    ways: dict[Point, list[Point]] = {}
    down = np.diff(pixels, axis=0)  # +1: the mask begins below the edge
    for sign, (begin, end) in ((1, (0, 1)), (-1, (1, 0))):
        for y, x in np.argwhere(down == sign).tolist():
            ways.setdefault((x + begin, y + 1), []).append((x + end, y + 1))
    right = np.diff(pixels, axis=1)  # +1: the mask begins right of the edge
    for sign, (begin, end) in ((1, (1, 0)), (-1, (0, 1))):
        for y, x in np.argwhere(right == sign).tolist():
            ways.setdefault((x + 1, y + begin), []).append((x + 1, y + end))
    return ways


def _loop(ways: dict[Point, list[Point]], start: Point) -> list[Point]:
    """Return one closed outline from ``start``; its edges are removed from ``ways``."""
    loop, here = [start], start
    while True:
        nexts = ways[here]
        # Where two pixels touch at a corner there are two ways on: keep to the same pixel.
        there = nexts.pop(_right_turn(loop, nexts)) if len(nexts) > 1 else nexts.pop()
        if not nexts:
            del ways[here]
        if there == start:
            return loop
        loop.append(there)
        here = there


def _right_turn(loop: list[Point], nexts: list[Point]) -> int:
    """Return the index in ``nexts`` of the corner that turns right the most."""
    if len(loop) < 2:
        return 0
    (x0, y0), (x1, y1) = loop[-2], loop[-1]
    turns = [(x1 - x0) * (y - y1) - (y1 - y0) * (x - x1) for x, y in nexts]
    return int(np.argmax(turns))


def _corners(loop: list[Point]) -> list[Point]:
    """Return the outline without the points where it does not turn."""
    return [
        here
        for before, here, after in zip(
            loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True
        )
        if (before[0] == here[0]) != (here[0] == after[0])
    ]
