"""Recall of region proposals, by the matcher of Detectron2 (``evaluation/coco_evaluation.py``).

It is not COCO's: objects of all classes count alike, crowds are left out, and each proposal covers
at most one object, the best covered pairs first. An image without proposals, or without objects, is
not counted at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.tasks import PROPOSAL_METRICS, PROPOSALS

Floats = npt.NDArray[np.float32]

#: IoU from which an object is found; recall is the mean over all of them.
THRESHOLDS = np.array([0.5 + 0.05 * step for step in range(10)], dtype=np.float32)

#: Proposals of an image that count.
LIMITS = (100, 1000)

#: Areas of objects in px², by what stands behind AR.
AREAS = {
    "": (0.0, 1e5**2),
    "s": (0.0, 32.0**2),
    "m": (32.0**2, 96.0**2),
    "l": (96.0**2, 1e5**2),
}


def score_proposals(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
) -> dict[str, float | None]:
    """Recall of the best 100 and 1000 proposals, of all objects and by their area.

    Args:
        annotations: COCO ground truth.
        predictions: COCO results, one a proposal; their scores decide which are the best.
        image_ids: The images that are scored.

    Returns:
        ``box_proposals/AR@1000`` and the others, 0-100; None where there is no object.
    """
    truth, areas = _truth(annotations)
    proposals = _proposals(predictions)
    found: dict[str, float | None] = {}
    for limit in LIMITS:
        for name, span in AREAS.items():
            covered = [
                _covered(proposals[one][:limit], _within(truth[one], areas[one], span))
                for one in image_ids
                if one in proposals and one in truth
            ]
            found[f"{PROPOSALS}/AR{name}@{limit}"] = _recall(covered)
    return {f"{PROPOSALS}/{name}": found[f"{PROPOSALS}/{name}"] for name in PROPOSAL_METRICS}


def _truth(annotations: Mapping[str, Any]) -> tuple[dict[int, Floats], dict[int, Floats]]:
    """Boxes (n, 4) and areas (n,) of the objects of each image that are no crowd."""
    boxes, areas = defaultdict(list), defaultdict(list)
    for one in annotations["annotations"]:
        if not one.get("iscrowd", 0):
            left, top, width, height = one["bbox"]
            boxes[one["image_id"]].append((left, top, left + width, top + height))
            areas[one["image_id"]].append(one.get("area", width * height))
    return _arrays(boxes), _arrays(areas)


def _proposals(predictions: Sequence[Mapping[str, Any]]) -> dict[int, Floats]:
    """Boxes (n, 4) of each image, best first."""
    boxes, scores = defaultdict(list), defaultdict(list)
    for one in predictions:
        left, top, width, height = one["bbox"]
        boxes[one["image_id"]].append((left, top, left + width, top + height))
        scores[one["image_id"]].append(one["score"])
    orders = {key: np.argsort(-np.array(values), kind="stable") for key, values in scores.items()}
    return {key: values[orders[key]] for key, values in _arrays(boxes).items()}


def _arrays(values: Mapping[int, Any]) -> dict[int, Floats]:
    return {key: np.array(rows, dtype=np.float32) for key, rows in values.items()}


def _within(boxes: Floats, areas: Floats, span: tuple[float, float]) -> Floats:
    kept: Floats = boxes[(areas >= span[0]) & (areas <= span[1])]
    return kept


def _covered(proposals: Floats, objects: Floats) -> Floats:
    """IoU (n,) of each object with the proposal that is its own; 0 of what has none."""
    overlaps = _pairwise_iou(proposals, objects)
    covered = np.zeros(len(objects), dtype=np.float32)
    for turn in range(min(overlaps.shape)):
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        covered[turn] = overlaps[row, column]
        overlaps[row, :] = -1
        overlaps[:, column] = -1
    return covered


def _pairwise_iou(first: Floats, second: Floats) -> Floats:
    """IoU of (m, 4) and (n, 4) boxes: (m, n); 0 without overlap."""
    corners = np.minimum(first[:, None, 2:], second[None, :, 2:])
    corners = corners - np.maximum(first[:, None, :2], second[None, :, :2])
    overlap = corners.clip(min=0).prod(axis=2)
    union = _areas(first)[:, None] + _areas(second) - overlap
    iou: Floats = np.where(overlap > 0, overlap / np.maximum(union, np.float32(1e-12)), 0)
    return iou.astype(np.float32)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _recall(covered: Sequence[Floats]) -> float | None:
    """Mean share of objects that are found over all thresholds, 0-100."""
    every = np.concatenate(covered) if covered else np.zeros(0, dtype=np.float32)
    if not len(every):
        return None
    shares = [(every >= threshold).sum() / len(every) for threshold in THRESHOLDS]
    return float(np.mean(shares)) * 100
