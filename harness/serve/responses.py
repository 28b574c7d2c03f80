"""What the service returns about images, as it is in the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.core.dataset import Category
from harness.core.detections import Detections, Rle
from harness.measure.masks import areas_px, union_px
from harness.serve.images import Header
from harness.serve.outlines import outlines

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
        detections: Of one image.
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
        header: Of the file.
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
        timing_s={phase: round(seconds, 6) for phase, seconds in timing_s.items()},
    )


def masked_of(
    detections: Detections, categories: Sequence[Category], size: tuple[int, int]
) -> Masked | None:
    """Count the pixels of an image that are under masks.

    Args:
        detections: Of one image.
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


def _listed(
    detections: Detections, categories: Sequence[Category], polygons: bool
) -> tuple[Detection, ...]:
    boxes = detections.boxes_xyxy_px
    # Subtracted in float32, as for predictions of an evaluation.
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
                keypoints=detections.coco_keypoints(row),
            )
        )
    return tuple(listed)


def _mask(rle: Rle) -> Mask:
    return Mask(size=(rle.height_px, rle.width_px), counts=rle.counts)


def _polygons(rle: Rle) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(polygon) for polygon in outlines(rle))


def _shortest(value: np.float32) -> float:
    """Return the number with the fewest digits that is still this float32."""
    return float(str(value))
