"""COCO metrics of a set of predictions, by faster-coco-eval, pycocotools, or both.

faster-coco-eval computes the same twelve numbers as pycocotools from the same steps in C++; both
are driven here through the interface they share. All results are in 0…100.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.core.errors import IntegrityError, RunFailedError
from harness.core.record import CategoryScore
from harness.core.requests import Evaluator
from harness.measure.rle import closed_polygons

Task = Literal["bbox", "segm"]

#: COCOeval.stats, in order.
TASK_METRICS = (
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
)

#: The evaluators must agree to this on their 0…1 scale.
EVALUATOR_BAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """metrics: ``bbox/AP`` … ``segm/ARl`` in 0…100, None where undefined (no such ground truth).

    per_category: one row a task and category, by COCO id.
    """

    metrics: dict[str, float | None]
    per_category: tuple[CategoryScore, ...]


def score(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    evaluator: Evaluator = "fast",
) -> Scores:
    """The COCO metrics of ``predictions`` (COCO results format) over ``image_ids``.

    Raises IntegrityError for predictions of images or categories the annotations do not have, and
    RunFailedError when both evaluators run and differ.
    """
    _require_known(annotations, predictions)
    wanted = frozenset(image_ids)
    kept = [row for row in predictions if row["image_id"] in wanted]
    metrics: dict[str, float | None] = {}
    per_category: list[CategoryScore] = []
    for task in tasks:
        truth = ground_truth(annotations, task)
        match evaluator:
            case "fast" | "pycocotools":
                result = _evaluate(evaluator, truth, kept, task, image_ids)
            case "both":
                result = _evaluate("fast", truth, kept, task, image_ids)
                _require_equal(result, _evaluate("pycocotools", truth, kept, task, image_ids), task)
        metrics |= {
            f"{task}/{name}": _percent(value)
            for name, value in zip(TASK_METRICS, result.stats, strict=True)
        }
        per_category += _category_scores(annotations, result.precision, task)
    return Scores(metrics=metrics, per_category=tuple(per_category))


def check_coverage(expected_ids: Sequence[int], finished_ids: Sequence[int]) -> None:
    """Raise RunFailedError unless every expected image was finished exactly once.

    An image that is missing, or there twice, moves every number (detectron2#1838, pytorch#25162).
    """
    finished = set(finished_ids)
    missing = [one for one in expected_ids if one not in finished]
    unexpected = sorted(finished - set(expected_ids))
    repeated = len(finished_ids) - len(finished)
    if missing or unexpected or repeated:
        raise RunFailedError(
            f"{len(finished)} of {len(expected_ids)} images were evaluated: "
            f"{len(missing)} missing (first: {missing[:3]}), {repeated} more than once, "
            f"{len(unexpected)} unexpected (first: {unexpected[:3]})",
            hint="continue the run with --resume",
        )


@dataclass(frozen=True, slots=True)
class _Result:
    """stats: the twelve numbers, −1 undefined. precision: (T, R, K, A, M), −1 undefined."""

    stats: tuple[float, ...]
    precision: np.ndarray[Any, Any]


def _require_known(
    annotations: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> None:
    images = {image["id"] for image in annotations["images"]}
    categories = {category["id"] for category in annotations["categories"]}
    for row in predictions:
        if row["image_id"] not in images:
            raise IntegrityError(
                f"a prediction names image {row['image_id']}, which the annotations do not have",
                hint="predictions and annotations belong to different data sets",
            )
        if row["category_id"] not in categories:
            raise IntegrityError(
                f"a prediction for image {row['image_id']} names category {row['category_id']}, "
                "which the annotations do not have",
                hint="predictions must carry COCO category ids, not class indices",
            )


def ground_truth(annotations: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """A copy the evaluators may write into, with what they take for granted filled in.

    Ids are renumbered from 1: the evaluators mark "unmatched" with 0, so an annotation with id 0
    could never be found. A missing area is the box's, as COCO's own tools take it. Polygons that
    enclose nothing are left out, and for masks what has no other.
    """
    rows = []
    for number, row in enumerate(annotations["annotations"], start=1):
        filled = {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row, "id": number}
        segmentation = filled.pop("segmentation", None)
        if task == "segm":
            if isinstance(segmentation, list):
                segmentation = closed_polygons(segmentation)
            if not segmentation:
                continue
            filled["segmentation"] = segmentation
        rows.append(filled)
    return {
        "info": {},
        "images": list(annotations["images"]),
        "annotations": rows,
        "categories": list(annotations["categories"]),
    }


def _evaluate(
    evaluator: Literal["fast", "pycocotools"],
    truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    task: Task,
    image_ids: Sequence[int],
) -> _Result:
    coco_class, eval_class = _classes(evaluator)
    # The evaluators print their progress and their table; the answer is what they return.
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth = coco_class()
        coco_truth.dataset = copy.deepcopy(dict(truth))
        coco_truth.createIndex()
        rows = [result_row(row, task) for row in predictions]
        found = coco_truth.loadRes(rows) if rows else _empty_results(coco_class, coco_truth)
        evaluation = eval_class(coco_truth, found, task)
        evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = np.asarray(evaluation.eval["precision"])
    return _Result(tuple(float(value) for value in evaluation.stats[:12]), precision)


def _classes(evaluator: Literal["fast", "pycocotools"]) -> tuple[Any, Any]:
    if evaluator == "fast":
        from faster_coco_eval import COCO, COCOeval_faster

        return COCO, COCOeval_faster
    from pycocotools.coco import COCO as OfficialCOCO
    from pycocotools.cocoeval import COCOeval

    return OfficialCOCO, COCOeval


def result_row(row: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """What one task may see of a prediction.

    With a box in the row the evaluators would take the box's area for the mask's, and sort masks
    into the wrong size class; Detectron2 drops it for the same reason.
    """
    dropped = "bbox" if task == "segm" else "segmentation"
    return {key: value for key, value in row.items() if key != dropped}


def _empty_results(coco_class: Any, truth: Any) -> Any:
    results = coco_class()
    results.dataset = {**truth.dataset, "annotations": []}
    results.createIndex()
    return results


def _require_equal(first: _Result, second: _Result, task: Task) -> None:
    for name, fast, official in zip(TASK_METRICS, first.stats, second.stats, strict=True):
        if abs(fast - official) > EVALUATOR_BAR:
            raise RunFailedError(
                f"the evaluators disagree on {task}/{name}: "
                f"faster-coco-eval {fast:.12f}, pycocotools {official:.12f}",
                hint="predictions are kept; score them with --evaluator pycocotools",
            )


def _category_scores(
    annotations: Mapping[str, Any], precision: np.ndarray[Any, Any], task: Task
) -> list[CategoryScore]:
    """AP of each category: the mean precision over IoU and recall, all sizes, 100 detections."""
    categories = sorted(annotations["categories"], key=lambda category: category["id"])
    rows = []
    for position, category in enumerate(categories):
        values = precision[:, :, position, 0, -1]
        defined = values[values > -1]
        rows.append(
            CategoryScore(
                task=task,
                category_id=category["id"],
                name=category["name"],
                ap=float(defined.mean()) * 100 if defined.size else None,
                reason="" if defined.size else "no ground truth in the evaluated images",
            )
        )
    return rows


def _percent(value: float) -> float | None:
    """0…1 as 0…100; the evaluators' −1 for "undefined" as None."""
    return None if value < 0 else value * 100
