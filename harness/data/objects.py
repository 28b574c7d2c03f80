"""The objects of a data set that training uses; what cannot be learned from is left out and
counted.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import Dataset, ImageRecord
from harness.core.printable import counted
from harness.core.run_lengths import Rle
from harness.data.semantic import SemanticTruth, semantic_truths
from harness.data.shapes import flip_order
from harness.measure.masks import rle_of, usable_polygons

#: What to do about a file without masks where they are to be learned.
BOXES_ONLY = "its objects are boxes: convert them again with --boxes-as-masks"

#: Why something is left out: what it is, to be counted, and what is wrong with it.
Reason = tuple[str, str]

#: Polygons x, y, x, y, … in px, or run lengths of the whole image.
Segmentation = list[Sequence[float]] | Rle


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """One image with the objects a network can learn from."""

    record: ImageRecord
    """The image as the annotation file lists it."""

    boxes_xyxy_px: npt.NDArray[np.float64]
    """(g, 4) float64, inside the image."""

    class_index: npt.NDArray[np.int64]
    """(g,) int64, the position in ``Dataset.categories``."""

    segmentations: tuple[Segmentation, ...] | None
    """One an object; None for a network without masks."""

    keypoints: npt.NDArray[np.float64] | None = None
    """(g, K, 3) x and y in px of the image, of which 0.5 is the middle of the first, and visibility
    0, 1 or 2; None for a network without keypoints.
    """

    mirrored: npt.NDArray[np.int64] | None = None
    """(g, K) int64: where each keypoint of an object comes from when left and right are swapped, by
    the names of its category; None for a network without keypoints.
    """

    semantic: SemanticTruth | None = None
    """Class of each pixel; None for a network without a semantic head."""

    proposals: npt.NDArray[np.floating[Any]] | None = None
    """(n, 4) regions x1, y1, x2, y2 in px of the image, best first; None for a network that
    proposes its own.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """The part of a data set that a network can learn from."""

    dataset: Dataset
    """All of it, without the parsed file: the objects are in ``images``."""

    images: tuple[AnnotatedImage, ...]
    """The images that have an object; all where the class of each pixel is learned, too."""

    object_counts: dict[int, int]
    """Objects of each category, by category id."""

    left_out: tuple[str, ...]
    """Why annotations and images are not among them, one phrase each with a count."""

    has_run_lengths: bool
    """Whether the mask of any object that is no crowd is run lengths."""


def training_set(
    dataset: Dataset,
    *,
    with_masks: bool,
    with_keypoints: bool = False,
    with_semantics: bool = False,
) -> TrainingSet:
    """The part of a data set that can be learned from, as Detectron2 selects it
    (``data/build.py``).

    Crowds, boxes without area inside their image and, for a network with masks, objects without a
    usable mask are left out; so are images that have no object then or, for a network with
    keypoints, no labelled keypoint. For a network with a semantic head every image is kept
    (DATALOADER.FILTER_EMPTY_ANNOTATIONS of Base-Panoptic-FPN.yaml).

    Args:
        dataset: With its parsed file.
        with_masks: Whether the network has masks.
        with_keypoints: Whether the network has keypoints.
        with_semantics: Whether the network has a semantic head; the data set then has panoptic
            annotations.

    Raises:
        IntegrityError: There are too many kinds of stuff.
    """
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in dataset.ground_truth["annotations"]:
        rows[row["image_id"]].append(row)
    index = {one.category_id: position for position, one in enumerate(dataset.categories)}
    semantics = _semantics(dataset) if with_semantics else {}
    reasons: Counter[Reason] = Counter()
    images = []
    counts: Counter[int] = Counter({one.category_id: 0 for one in dataset.categories})
    for record in dataset.images:
        objects = _usable(rows[record.image_id], record, reasons, with_masks)
        if reason := _why_left_out(objects, with_keypoints, with_semantics):
            reasons[reason] += 1
            continue
        counts.update(row["category_id"] for row, _ in objects)
        image = _annotated(record, objects, index, with_masks)
        image = replace(image, semantic=semantics.get(record.image_id))
        images.append(_with_keypoints(image, objects, dataset) if with_keypoints else image)
    return TrainingSet(
        dataset=dataset.without_content(),
        images=tuple(images),
        object_counts=dict(counts),
        left_out=tuple(counted(reasons[one], one[0]) + one[1] for one in sorted(reasons)),
        has_run_lengths=_has_run_lengths(dataset),
    )


def _usable(
    rows: Sequence[dict[str, Any]],
    record: ImageRecord,
    reasons: Counter[Reason],
    with_masks: bool,
) -> list[tuple[dict[str, Any], list[float]]]:
    """The annotations of an image to learn from, each with its box; of others the reason counts."""
    return [
        (row, box)
        for row in rows
        if (box := _usable_box(row, record, reasons, with_masks)) is not None
    ]


def _why_left_out(
    objects: Sequence[tuple[Mapping[str, Any], Any]], with_keypoints: bool, with_semantics: bool
) -> Reason | None:
    """Return why nothing is learned from an image; None where something is."""
    if not objects and not with_semantics:
        return "image", " without an object to learn from"
    if with_keypoints and not any(row.get("num_keypoints") for row, _ in objects):
        return "image", " without a labelled keypoint"
    return None


def _has_run_lengths(dataset: Dataset) -> bool:
    return any(
        isinstance(row.get("segmentation"), Mapping) and not row.get("iscrowd", 0)
        for row in dataset.ground_truth["annotations"]
    )


def _semantics(dataset: Dataset) -> Mapping[int, SemanticTruth]:
    assert dataset.panoptic is not None  # who asks for them has seen to it
    return semantic_truths(dataset.panoptic, dataset.image_ids)


def _usable_box(
    row: Mapping[str, Any], record: ImageRecord, reasons: Counter[Reason], with_masks: bool
) -> list[float] | None:
    """The box of an annotation as x1, y1, x2, y2 cut at its image; None, with the reason counted,
    when it is not one to learn from.
    """
    x, y, width, height = row["bbox"]
    box = [
        min(max(x, 0), record.width_px),
        min(max(y, 0), record.height_px),
        min(max(x + width, 0), record.width_px),
        min(max(y + height, 0), record.height_px),
    ]
    if row.get("iscrowd", 0):
        reasons["crowd region", ""] += 1
    elif box[2] <= box[0] or box[3] <= box[1]:
        reasons["annotation", " whose box has no area inside its image"] += 1
    elif with_masks and not row.get("segmentation"):
        reasons["annotation", " of a box without a mask"] += 1
    elif with_masks and not _has_mask(row.get("segmentation")):
        reasons["annotation", " with a degenerate segmentation"] += 1
    else:
        return box
    return None


def _has_mask(segmentation: Any) -> bool:
    if isinstance(segmentation, list):
        return bool(usable_polygons(segmentation))
    return segmentation is not None


def _annotated(
    record: ImageRecord,
    objects: Sequence[tuple[dict[str, Any], list[float]]],
    index: Mapping[int, int],
    with_masks: bool,
) -> AnnotatedImage:
    masks = None
    if with_masks:
        masks = tuple(_segmentation(row["segmentation"], record) for row, _ in objects)
    return AnnotatedImage(
        record=record,
        boxes_xyxy_px=np.array([box for _, box in objects], dtype=np.float64).reshape(-1, 4),
        class_index=np.array([index[row["category_id"]] for row, _ in objects], dtype=np.int64),
        segmentations=masks,
    )


def _with_keypoints(
    image: AnnotatedImage, objects: Sequence[tuple[dict[str, Any], list[float]]], dataset: Dataset
) -> AnnotatedImage:
    none = [0.0] * 3 * dataset.keypoint_count
    flat = [row.get("keypoints") or none for row, _ in objects]
    points = np.array(flat, dtype=np.float64).reshape(len(objects), dataset.keypoint_count, 3)
    points[:, :, :2] += 0.5  # files count from the middle of the first pixel
    orders = np.array([flip_order(one.keypoints) for one in dataset.categories], dtype=np.int64)
    return replace(image, keypoints=points, mirrored=orders[image.class_index])


def _segmentation(segmentation: Any, record: ImageRecord) -> Segmentation:
    if isinstance(segmentation, list):
        return [
            polygon if isinstance(polygon, array) else array("d", polygon)
            for polygon in usable_polygons(segmentation)
        ]
    return rle_of(segmentation, record.height_px, record.width_px)
