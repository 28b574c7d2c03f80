"""What the service says about pictures, as it stands in the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.core.dataset import Category
from harness.core.detections import Detections, Rle
from harness.measure.rle import areas_px, union_px
from harness.serve.images import Header
from harness.serve.outlines import outlines


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """COCO's compressed run lengths. size: (height, width) of the picture, px."""

    size: tuple[int, int]
    counts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One object, in pixels of the upright picture.

    category_id, bbox (x, y, width, height), score and segmentation are those of COCO's results
    format. box_xyxy_px: x1, y1, x2, y2, the last two exclusive. segmentation and area_px: None from
    a network without masks. polygons: the mask's outlines, when asked for.
    """

    category_id: int
    bbox: tuple[float, float, float, float]
    score: float
    segmentation: Mask | None
    category: str
    box_xyxy_px: tuple[float, float, float, float]
    area_px: int | None
    polygons: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Pixels under a mask of one category, and their share (0…1) of the picture."""

    category_id: int
    category: str
    objects: int
    pixels: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Pixels under any mask; where masks overlap a pixel counts once. share: of the picture, 0…1.

    by_category: those of each category; their sum may be more than the whole.
    """

    pixels: int
    share: float
    by_category: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureAnswer:
    """Everything about one picture.

    threshold: objects that score less are not listed. found: how many the network found at all.
    masked: None from a network without masks. timing_s: seconds by phase; wait is for the engine.
    picture: as it was decoded, upright, as a data: URL, when asked for.
    """

    name: str
    format: str
    width_px: int
    height_px: int
    notes: tuple[str, ...]
    threshold: float
    found: int
    detections: tuple[Detection, ...]
    masked: Masked | None
    timing_s: dict[str, float]
    picture: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Who answers. checkpoint_pinned: its weights are the ones the lock names."""

    name: str
    checkpoint_sha256: str
    checkpoint_pinned: bool
    engine: str
    engine_version: str
    device: str
    precision: str
    harness_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one request; pictures in the order they came."""

    model: ModelFacts
    pictures: tuple[PictureAnswer, ...]
    total_s: float


def at_least(detections: Detections, threshold: float) -> Detections:
    """The detections that score ``threshold`` or more, in their order."""
    kept = np.flatnonzero(detections.scores >= threshold)
    if len(kept) == len(detections):
        return detections
    masks = detections.masks
    return replace(
        detections,
        boxes_xyxy_px=detections.boxes_xyxy_px[kept],
        scores=detections.scores[kept],
        class_index=detections.class_index[kept],
        masks=None if masks is None else tuple(masks[row] for row in kept),
    )


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
    """The answer for one picture. detections: all that the network found."""
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
        timing_s={phase: round(seconds, 6) for phase, seconds in timing_s.items()},
    )


def masked_of(
    detections: Detections, categories: Sequence[Category], size: tuple[int, int]
) -> Masked | None:
    """The masked pixels of a picture of ``size`` (height, width) px; None without masks."""
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


def _listed(
    detections: Detections, categories: Sequence[Category], polygons: bool
) -> tuple[Detection, ...]:
    boxes = detections.boxes_xyxy_px
    # Subtracted in float32, as predictions of an evaluation are.
    sizes = boxes[:, 2:] - boxes[:, :2]
    masks = detections.masks
    areas = None if masks is None else areas_px(masks)
    listed = []
    for row, index in enumerate(detections.class_index.tolist()):
        x1, y1, x2, y2 = (_shortest(value) for value in boxes[row])
        width, height = (_shortest(value) for value in sizes[row])
        listed.append(
            Detection(
                category_id=categories[index].category_id,
                bbox=(x1, y1, width, height),
                score=_shortest(detections.scores[row]),
                segmentation=None if masks is None else _mask(masks[row]),
                category=categories[index].name,
                box_xyxy_px=(x1, y1, x2, y2),
                area_px=None if areas is None else areas[row],
                polygons=_polygons(masks[row]) if polygons and masks is not None else None,
            )
        )
    return tuple(listed)


def _mask(rle: Rle) -> Mask:
    return Mask(size=(rle.height_px, rle.width_px), counts=rle.counts)


def _polygons(rle: Rle) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(polygon) for polygon in outlines(rle))


def _shortest(value: np.float32) -> float:
    """The number of the fewest digits that is still this float32."""
    return float(str(value))
