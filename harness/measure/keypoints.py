"""Keypoints as COCO's evaluators need them: sigmas of OKS, visible points, the area they span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError

#: How far several annotators place a person's keypoints from each other, as a share of the square
#: root of the object's area (pycocotools ``cocoeval.py``, ``setKpParams``): nose, eyes, ears,
#: shoulders, elbows, wrists, hips, knees, ankles.
COCO_SIGMAS = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)

#: Of a category of an annotation file: the sigmas of its keypoints, where they are not COCO's.
SIGMAS_KEY = "sigmas"


def keypoint_count(annotations: Mapping[str, Any]) -> int:
    """How many keypoints an object has; 0 where no annotation has any.

    Args:
        annotations: As returned by ``data.coco.read_annotations``, which proves that all have as
            many.
    """
    rows = (row.get("keypoints") for row in annotations["annotations"])
    return next((len(points) // 3 for points in rows if points), 0)


def oks_sigmas(annotations: Mapping[str, Any]) -> tuple[float, ...]:
    """The sigmas of a data set's keypoints: those its categories give, else COCO's.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.

    Raises:
        IntegrityError: There are no keypoints; categories differ; or there are no sigmas for a
            skeleton that is not COCO's.
    """
    count = keypoint_count(annotations)
    if not count:
        raise IntegrityError(
            "no annotation has keypoints: keypoints are scored against person_keypoints_*.json, "
            "not instances_*.json",
            hint="COCO's come with: harness download --only annotations; of own data, give the "
            "file that has them with --annotations",
        )
    given = {tuple(one[SIGMAS_KEY]) for one in annotations["categories"] if one.get(SIGMAS_KEY)}
    if len(given) > 1:
        raise IntegrityError(
            "the categories have different sigmas, and one evaluation has one list of them",
            hint="score the categories one by one",
        )
    sigmas = given.pop() if given else COCO_SIGMAS
    if len(sigmas) != count:
        raise IntegrityError(
            f"objects have {count} keypoints, and there are {len(sigmas)} sigmas"
            + ("" if given else ", those of COCO's persons"),
            hint=f"give a category {count} numbers under {SIGMAS_KEY!r}: how far annotators place "
            "each keypoint apart, as a share of the square root of the object's area",
        )
    return sigmas


def visible_count(keypoints: Sequence[float]) -> int:
    """How many of the points x, y, v, x, y, v, … are labelled."""
    return sum(flag > 0 for flag in keypoints[2::3])


def spanned_box(keypoints: Sequence[float]) -> list[float]:
    """The box x, y, width, height that points x, y, v, x, y, v, … span, as ``loadRes`` takes it."""
    xs, ys = np.asarray(keypoints[0::3]), np.asarray(keypoints[1::3])
    left, top = float(xs.min()), float(ys.min())
    return [left, top, float(xs.max()) - left, float(ys.max()) - top]


def oks(
    found: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]],
    sigmas: Sequence[float],
) -> npt.NDArray[np.float64]:
    """Object keypoint similarity, as COCOeval's ``computeOks`` defines it.

    Of an object without a labelled keypoint, a point of a detection is right inside the box of
    three times the object's sides around it, and counts by its distance from there elsewhere.

    Args:
        found: Detections with ``keypoints``.
        objects: As returned by ``evaluators.ground_truth``.
        sigmas: As returned by ``oks_sigmas``.

    Returns:
        (detections, objects) float64, 0…1.
    """
    count = len(sigmas)
    points, there = (
        np.array([row["keypoints"] for row in rows], dtype=np.float64).reshape(-1, count, 3)
        for rows in (found, objects)
    )
    boxes = np.array([row["bbox"] for row in objects], dtype=np.float64).reshape(-1, 4)
    areas = np.array([row["area"] for row in objects], dtype=np.float64)
    rows, columns = np.divmod(np.arange(len(found) * len(objects)), max(len(objects), 1))
    pairs = points[rows], there[columns], boxes[columns], areas[columns]
    return pair_oks(*pairs, np.array(sigmas)).reshape(len(found), len(objects))


def pair_oks(
    found: npt.NDArray[np.float64],
    there: npt.NDArray[np.float64],
    boxes_xywh_px: npt.NDArray[np.float64],
    areas_px: npt.NDArray[np.float64],
    sigmas: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The same of P pairs.

    Args:
        found: (P, K, 3) keypoints of the detections.
        there: (P, K, 3) keypoints of the objects, with their visibility.
        boxes_xywh_px: (P, 4) of the objects.
        areas_px: (P,) of the objects.
        sigmas: (K,) of OKS.

    Returns:
        (P,) float64, 0…1.
    """
    labelled: npt.NDArray[np.bool_] = there[:, :, 2] > 0  # (P, K)
    some = np.asarray(labelled.any(axis=1))
    offsets = found[:, :, :2] - there[:, :, :2]  # (P, K, 2)
    corner, side = boxes_xywh_px[~some, None, :2], boxes_xywh_px[~some, None, 2:]
    offsets[~some] = _outside(found[~some, :, :2], corner - side, corner + 2 * side)
    errors = (offsets**2).sum(axis=2) / (sigmas * 2) ** 2 / (areas_px[:, None] + np.spacing(1)) / 2
    counted = np.where(some[:, None], labelled, True)
    overlaps = np.where(counted, np.exp(-errors), 0.0).sum(axis=1)
    return np.asarray(overlaps / np.maximum(counted.sum(axis=1), 1), dtype=np.float64)


def _outside(
    values: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """How far values are below ``low`` or above ``high``; 0 between them."""
    return np.maximum(0.0, low - values) + np.maximum(0.0, values - high)
