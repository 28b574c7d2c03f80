"""The native engine's answers as ground truth, by which the answers of an exported file are scored.

Weights that were generated find nothing in real annotations: every AP would be 0, whatever a file
computes. Against what the network itself finds, a file that equals it has an AP of 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.core.detections import Detections, Image
from harness.core.panoptic import PanopticMap
from harness.core.run_lengths import Rle
from harness.core.tasks import PROPOSALS
from harness.measure.coco import score
from harness.measure.masks import area_px
from harness.measure.panoptic import qualities, tally
from harness.measure.proposals import score_proposals

#: The best detections an image that are taken as objects, by what is scored of them: recall is
#: that of many more proposals, and COCO scores 20 sets of keypoints an image.
PROPOSED_OBJECTS, OBJECTS_WITH_KEYPOINTS = 50, 20
#: Where categories of stuff begin; those of things are before.
STUFF = 1000


def accuracy(
    truth: Sequence[Detections],
    found: Sequence[Detections],
    images: Sequence[Image],
    architecture: Architecture,
) -> dict[str, float]:
    """AP of each task, recall of proposals, or PQ of what a file found, 0-100."""
    rows = rows_of(found, architecture)
    annotations = annotations_of(truth, images, architecture)
    ids = [image.image_id for image in images]
    if architecture.detector == "rpn":
        scores: Mapping[str, float | None] = score_proposals(annotations, rows, ids)
        return {f"{PROPOSALS}/AR@1000": number_of(scores, f"{PROPOSALS}/AR@1000")}
    tasks = [task for task in architecture.tasks if task in ("bbox", "segm", "keypoints")]
    scores = score(annotations, rows, tasks=tasks, image_ids=ids).metrics
    numbers = {f"{task}/AP": number_of(scores, f"{task}/AP") for task in tasks}
    if architecture.is_panoptic:
        numbers |= panoptic_quality(truth, found, architecture)
    return numbers


def number_of(scores: Mapping[str, float | None], name: str) -> float:
    """A metric that has to be there."""
    value = scores[name]
    assert value is not None, f"{name} could not be computed"
    return value


def categories_of(architecture: Architecture) -> tuple[Category, ...]:
    """A name for each class of a network."""
    count = max(1, architecture.class_count)
    return tuple(Category(category_id=one + 1, name=f"class {one}") for one in range(count))


def rows_of(found: Sequence[Detections], architecture: Architecture) -> list[dict[str, Any]]:
    """COCO results, without the empty masks, which no object can be equal to."""
    named = [replace(one, categories=categories_of(architecture)) for one in found]
    most = OBJECTS_WITH_KEYPOINTS if architecture.keypoint_count else None
    rows = [row for one in named for row in one.to_coco()[:most]]
    return [row for row in rows if "segmentation" not in row or area_px(rle(row)) > 0]


def rle(row: dict[str, Any]) -> Rle:
    """The mask of a row."""
    height, width = row["segmentation"]["size"]
    return Rle(height, width, row["segmentation"]["counts"])


def annotations_of(
    truth: Sequence[Detections], images: Sequence[Image], architecture: Architecture
) -> dict[str, Any]:
    """COCO ground truth with an object a detection."""
    names = [f"point {one}" for one in range(architecture.keypoint_count)]
    facts = {"keypoints": names, "sigmas": [0.05 for _ in names]} if names else {}
    most = PROPOSED_OBJECTS if architecture.detector == "rpn" else None
    rows = [row for one in truth for row in rows_of([one], architecture)[:most]]
    return {
        "images": [
            {"id": one.image_id, "height": one.height_px, "width": one.width_px} for one in images
        ],
        "categories": [
            {"id": one.category_id, "name": one.name, **facts}
            for one in categories_of(architecture)
        ],
        "annotations": [annotation(number, row) for number, row in enumerate(rows, start=1)],
    }


def annotation(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """An object that is as it was found; every keypoint is labelled and visible."""
    kept = {name: value for name, value in row.items() if name != "score"}
    area = row["bbox"][2] * row["bbox"][3]
    if "keypoints" in row:
        points = np.array(row["keypoints"]).reshape(-1, 3)
        points[:, 2] = 2
        kept |= {"keypoints": points.ravel().tolist(), "num_keypoints": len(points)}
    return {**kept, "id": number, "iscrowd": 0, "area": area}


def panoptic_quality(
    truth: Sequence[Detections], found: Sequence[Detections], architecture: Architecture
) -> dict[str, float]:
    """PQ of all segments, and of things and stuff alone."""
    tallies = []
    for one, other in zip(truth, found, strict=True):
        assert one.panoptic is not None
        assert other.panoptic is not None
        objects = segments_of(one.panoptic)
        tallies.append(
            tally(one.panoptic.ids, objects, other.panoptic.ids, segments_of(other.panoptic))
        )
    things = {one: f"thing {one}" for one in range(architecture.class_count)}
    kinds = range(STUFF, STUFF + architecture.semantic_classes)
    scores = qualities(tallies, things, {one: f"stuff {one}" for one in kinds}).metrics
    names = ("panoptic_seg/PQ", "panoptic_seg/PQ_th", "panoptic_seg/PQ_st")
    return {name: number_of(scores, name) for name in names}


def segments_of(found: PanopticMap) -> list[dict[str, Any]]:
    """The segments of a map as a panoptic file lists them."""
    areas = np.bincount(found.ids.ravel())
    return [
        {
            "id": one.segment_id,
            "category_id": one.class_index + (0 if one.is_thing else STUFF),
            "area": int(areas[one.segment_id]),
            "iscrowd": 0,
        }
        for one in found.segments
    ]
