"""faster-coco-eval and pycocotools, driven through the interface they share.

Both follow the same steps; faster-coco-eval takes most of them in C++. What is scored comes in
shares, one task and some categories each: categories have nothing to do with each other until their
numbers are averaged, so that shares may be scored anywhere and put together again.
"""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.measure.polygons import usable_polygons

Task = Literal["bbox", "segm"]

#: ``core.requests.Evaluator`` but for "both".
OneEvaluator = Literal["fast", "pycocotools"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some categories of one task.

    truth: as from ``ground_truth``; rows: as from ``result_row``. The evaluators write into both: a
    share is scored once.
    """

    evaluator: OneEvaluator
    task: Task
    truth: Mapping[str, Any]
    rows: list[dict[str, Any]]
    image_ids: Sequence[int]

    @property
    def category_ids(self) -> list[int]:
        """In the order of the curves."""
        return sorted(category["id"] for category in self.truth["categories"])


@dataclass(frozen=True, slots=True)
class Curves:
    """Of T IoU thresholds, R recalls, K categories by id, A size classes, M detection limits.

    precision: (T, R, K, A, M); recall: (T, K, A, M); 0…1, −1 where undefined.
    """

    precision: Floats
    recall: Floats


def ground_truth(annotations: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """A copy the evaluators may write into, with what they take for granted filled in.

    Ids are renumbered from 1: the evaluators mark "unmatched" with 0, so an annotation with id 0
    could never be found. A missing area is the box's, as COCO's own tools take it. Polygons that
    do not count (``measure.polygons``) are left out, and for masks what has no other.
    """
    rows = []
    for number, row in enumerate(annotations["annotations"], start=1):
        filled = {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row, "id": number}
        segmentation = filled.pop("segmentation", None)
        if task == "segm":
            if isinstance(segmentation, list):
                segmentation = usable_polygons(segmentation)
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


def result_row(row: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """What one task may see of a prediction.

    With a box in the row the evaluators would take the box's area for the mask's, and sort masks
    into the wrong size class; Detectron2 drops it for the same reason.
    """
    dropped = "bbox" if task == "segm" else "segmentation"
    kept = dict(row)
    kept.pop(dropped, None)
    return kept


def curves_of(share: Share) -> Curves:
    """Precision and recall of the share's categories."""
    coco_class, eval_class = evaluator_classes(share.evaluator)
    # The evaluators print their progress; the answer is what they return.
    with contextlib.redirect_stdout(io.StringIO()), collector_paused():
        truth = coco_class()
        truth.dataset = share.truth
        truth.createIndex()
        if share.evaluator == "pycocotools" and share.rows:
            found = truth.loadRes(share.rows)
        else:
            found = _results(coco_class, share)
        evaluation = eval_class(truth, found, share.task)
        evaluation.params.imgIds = list(share.image_ids)
        # faster-coco-eval's threads hold each other up: what they call keeps Python's lock.
        evaluation.rle_iou_max_workers = 1
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"]))


def summary(evaluator: OneEvaluator, task: Task, curves: Curves) -> tuple[float, ...]:
    """The evaluator's twelve numbers of all categories together, 0…1, −1 where undefined."""
    _, eval_class = evaluator_classes(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = eval_class(iouType=task)
        evaluation.eval = {"precision": curves.precision, "recall": curves.recall}
        evaluation.summarize()
    return tuple(float(value) for value in evaluation.stats[:12])


def evaluator_classes(evaluator: OneEvaluator) -> tuple[Any, Any]:
    """The evaluator's class of a data set, and of an evaluation."""
    if evaluator == "fast":
        from faster_coco_eval import COCO, COCOeval_faster

        return COCO, COCOeval_faster
    from pycocotools.coco import COCO as OfficialCOCO
    from pycocotools.cocoeval import COCOeval

    return OfficialCOCO, COCOeval


def _results(coco_class: Any, share: Share) -> Any:
    """What ``loadRes`` makes of the rows, but for each mask's box, which no evaluation asks for."""
    if share.task == "segm" and share.rows:
        from faster_coco_eval.core import mask

        areas = mask.area([row["segmentation"] for row in share.rows])
    else:
        areas = [row["bbox"][2] * row["bbox"][3] for row in share.rows]
    for number, (row, area) in enumerate(zip(share.rows, areas, strict=True), start=1):
        row.update(id=number, area=area, iscrowd=0)
    results = coco_class()
    results.dataset = {**share.truth, "annotations": share.rows}
    results.createIndex()
    return results


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No search for cycles: there are none, and millions of rows to search again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
