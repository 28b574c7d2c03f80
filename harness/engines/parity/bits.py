"""Proof that the exact native engine and Detectron2 answer with the same bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.detections import Detections, Image
from harness.core.panoptic import PanopticMap
from harness.engines.detectron2 import Detectron2Engine
from harness.engines.native import NativeEngine
from harness.engines.stages import detectron2_stages, native_stages
from harness.measure.timing import NULL_STOPWATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBits:
    """In how many of the images a stage has the same bits."""

    stage: str
    """Name of the stage."""

    equal_images: int
    """Images in which all its bits are the same."""

    images: int
    """Images compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactProof:
    """What was found over all images."""

    images: int
    """Number of images."""

    detections: int
    """Number of detections of the reference."""

    equal: int
    """Detections whose box, score, class, mask and keypoints are the same, bit for bit."""

    stages: tuple[StageBits, ...]
    """One row a stage, in network order."""

    first_difference: str | None
    """Where the first different bit is; None when there is none."""

    ok: bool
    """Whether all bits are the same."""


def prove_exact(
    exact: NativeEngine, reference: Detectron2Engine, images: Iterable[Image]
) -> ExactProof:
    """Compare both engines on every image, bit by bit, stage by stage."""
    stages: dict[str, list[bool]] = {}
    first: str | None = None
    count = detections = equal = 0
    for image in images:
        count += 1
        ours = exact.prepare(image, NULL_STOPWATCH)
        theirs = reference.prepare(image, NULL_STOPWATCH)
        expected, proposals = detectron2_stages(reference, theirs)
        found = native_stages(exact, ours, proposals)
        for stage, values in expected.items():
            where = first_other(found[stage], values)
            stages.setdefault(stage, []).append(where is None)
            if where is not None and first is None:
                first = f"image {image.image_id}, {stage}, {where}"
        mine = exact.infer([ours], NULL_STOPWATCH)[0]
        their = reference.infer([theirs], NULL_STOPWATCH)[0]
        alike, where = same_detections(mine, their)
        detections += len(their)
        equal += alike
        where = where or other_map(mine.panoptic, their.panoptic)
        if where is not None and first is None:
            first = f"image {image.image_id}, {where}"
    rows = tuple(
        StageBits(stage=stage, equal_images=sum(flags), images=len(flags))
        for stage, flags in stages.items()
    )
    return ExactProof(
        images=count,
        detections=detections,
        equal=equal,
        stages=rows,
        first_difference=first,
        ok=first is None,
    )


def first_other(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> str | None:
    """Return where two arrays first differ in a bit, with both numbers; None when they do not."""
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    other = np.flatnonzero(_bits(found) != _bits(expected))
    if not len(other):
        return None
    place = tuple(int(one) for one in np.unravel_index(other[0], found.shape))
    pair = (found[place], expected[place])
    return (
        f"at {list(place)}: {pair[0]!s} ({pair[0].tobytes()[::-1].hex()}) instead of "
        f"{pair[1]!s} ({pair[1].tobytes()[::-1].hex()}), {len(other)} of {found.size} differ"
    )


def same_detections(found: Detections, expected: Detections) -> tuple[int, str | None]:
    """Return how many detections are equal in every bit, and where the first different one is."""
    if len(found) != len(expected):
        return 0, f"{len(found)} detections instead of {len(expected)}"
    boxes = (_bits(found.boxes_xyxy_px) == _bits(expected.boxes_xyxy_px)).all(axis=1)
    scores = _bits(found.scores) == _bits(expected.scores)
    classes = found.class_index == expected.class_index
    masks = np.ones(len(found), dtype=bool)
    if found.masks is not None and expected.masks is not None:
        pairs = zip(found.masks, expected.masks, strict=True)
        masks = np.array([one == other for one, other in pairs], dtype=bool)
    points = np.ones(len(found), dtype=bool)
    if found.keypoints is not None and expected.keypoints is not None:
        points = (_bits(found.keypoints) == _bits(expected.keypoints)).all(axis=(1, 2))
    alike = boxes & scores & classes & masks & points
    if alike.all():
        return len(alike), None
    row = int(np.flatnonzero(~alike)[0])
    parts = {"box": boxes, "score": scores, "class": classes, "mask": masks}
    parts["keypoints"] = points
    wrong = ", ".join(name for name, flags in parts.items() if not flags[row])
    return int(alike.sum()), f"detection {row}: its {wrong} differs"


def other_map(found: PanopticMap | None, expected: PanopticMap | None) -> str | None:
    """Return where two maps of segments first differ; None where they do not, or there are none."""
    if found is None or expected is None:
        return None if found is expected else "one of the two has no map of segments"
    apart = found.ids != expected.ids
    if apart.any():
        row, column = (int(one) for one in np.argwhere(apart)[0])
        return (
            f"map of segments at {[row, column]}: {found.ids[row, column]} instead of "
            f"{expected.ids[row, column]}, {int(apart.sum())} of {apart.size} pixels differ"
        )
    if found.segments != expected.segments:
        return f"segments {found.segments} instead of {expected.segments}"
    return None


def _bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
