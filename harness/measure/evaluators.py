"""faster-coco-eval and pycocotools, driven through the interface they share.

Both follow the same steps; faster-coco-eval takes most of them in C++. What is scored comes in
shares, one task and some categories each: categories have nothing to do with each other until their
numbers are averaged, so that shares may be scored anywhere and put together again.

Boundary AP of masks, by faster-coco-eval, is a second opinion that no verdict uses. Its IoU is of
the parts of two masks that are near their outlines ("Boundary IoU: Improving Object-Centric Image
Segmentation Evaluation", Cheng et al., 2021, with its distance of 2 % of the image's diagonal). AP
of masks hardly sees the outline of large objects; this does.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError
from harness.core.garbage_collection import collector_paused
from harness.core.tasks import DETECTION_METRICS, TASKS, Task
from harness.measure.keypoints import SIGMAS_KEY, oks_sigmas, spanned_box, visible_count
from harness.measure.masks import usable_polygons

#: ``core.requests.inference.Evaluator`` but for "both".
OneEvaluator = Literal["fast", "pycocotools"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some categories of one task. The evaluators write into it: a share is scored once."""

    evaluator: OneEvaluator
    """The evaluator that scores it."""
    task: Task
    """What is scored."""
    truth: Mapping[str, Any]
    """As from ``ground_truth``."""
    rows: list[dict[str, Any]]
    """Predictions as from ``result_row``."""
    image_ids: Sequence[int]
    """The images to evaluate, by their numbers."""

    @property
    def category_ids(self) -> list[int]:
        """Numbers of the categories, in the order of the curves."""
        return sorted(category["id"] for category in self.truth["categories"])


@dataclass(frozen=True, slots=True)
class Curves:
    """Of T IoU thresholds, R recalls, K categories by id, A size classes, M detection limits."""

    precision: Floats
    """(T, R, K, A, M) in 0…1, −1 where undefined."""
    recall: Floats
    """(T, K, A, M) in 0…1, −1 where undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """Numbers from 1 without gaps for the ids of a data set, in the order of the ids.

    The evaluators keep ids as floating-point numbers, which are exact up to 2⁵³ only, and take a
    negative id or 0 for something else.
    """

    images: dict[int, int]
    """By image id."""
    categories: dict[int, int]
    """By category id."""

    def image_numbers(self, image_ids: Iterable[int]) -> list[int]:
        """The numbers of some images, in their order."""
        return [self.images[one] for one in image_ids]


def numbering_of(annotations: Mapping[str, Any]) -> Numbering:
    """The numbers that stand for the ids of a data set wherever an evaluator sees them.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
    """
    images, categories = (
        {one: number for number, one in enumerate(sorted(row["id"] for row in rows), start=1)}
        for rows in (annotations["images"], annotations["categories"])
    )
    return Numbering(images=images, categories=categories)


def ground_truth(
    annotations: Mapping[str, Any], task: Task, numbering: Numbering
) -> dict[str, Any]:
    """What the evaluators may see of a data set, and write into.

    A missing area is the box's, as COCO's own tools take it. An object without keypoints is one
    that has none labelled, which the evaluators ignore. Polygons that do not count
    (``measure.masks``) are left out, and for masks what has no other.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        task: What is scored.
        numbering: Numbering of ``annotations``.

    Returns:
        An annotation file's content in new numbers: annotations are numbered from 1 by their
        position (the evaluators mark "unmatched" with 0), with no key that no evaluator needs.

    Raises:
        IntegrityError: The task is keypoints, and there are none, or no sigmas for them.
    """
    sigmas = oks_sigmas(annotations) if task == "keypoints" else ()
    rows = []
    for number, row in enumerate(annotations["annotations"], start=1):
        box = row["bbox"]
        kept = {
            "id": number,
            "image_id": numbering.images[row["image_id"]],
            "category_id": numbering.categories[row["category_id"]],
            "bbox": box,
            "area": row.get("area", box[2] * box[3]),
            "iscrowd": int(row.get("iscrowd", 0)),
        }
        shape = _shape_of(row, task, len(sigmas))
        if shape is not None:
            rows.append({**kept, **shape})
    return {
        "info": {},
        SIGMAS_KEY: sigmas,
        "images": [
            {"id": numbering.images[one["id"]], "height": one["height"], "width": one["width"]}
            for one in annotations["images"]
        ],
        "annotations": rows,
        "categories": [
            {"id": numbering.categories[category["id"]]} for category in annotations["categories"]
        ],
    }


def _shape_of(row: Mapping[str, Any], task: Task, keypoints: int) -> dict[str, Any] | None:
    """What an annotation has beside its box for a task; None where it is left out."""
    if task == "segm":
        segmentation = row.get("segmentation")
        if isinstance(segmentation, list):
            segmentation = usable_polygons(segmentation)
        return {"segmentation": segmentation} if segmentation else None
    if task == "keypoints":
        points = row.get("keypoints") or [0] * 3 * keypoints
        return {"keypoints": points, "num_keypoints": visible_count(points)}
    return {}


def result_row(row: Mapping[str, Any], task: Task, numbering: Numbering) -> dict[str, Any]:
    """What one task may see of a prediction, in the numbers of its data set.

    With a box in the row the evaluators would take the box's area for the mask's, and sort masks
    into the wrong size class; Detectron2 drops it for the same reason. With a key of another task
    (``caption``, ``keypoints``) they would evaluate that.

    Args:
        row: A valid COCO result; not changed.
        task: What is scored.
        numbering: Numbering of the annotations.

    Raises:
        IntegrityError: The row lacks what the task needs.
    """
    key = TASKS[task].key
    if key not in row:
        raise IntegrityError(f"a prediction for image {row['image_id']} has no {key}")
    return {
        "image_id": numbering.images[row["image_id"]],
        "category_id": numbering.categories[row["category_id"]],
        "score": row["score"],
        key: row[key],
    }


def curves_of(share: Share) -> Curves:
    """Precision and recall of the share's categories.

    Args:
        share: Is written into, and cannot be scored again.
    """
    coco_class, eval_class = evaluator_classes(share.evaluator)
    # The evaluators print their progress; the result is what they return.
    with contextlib.redirect_stdout(io.StringIO()), collector_paused():
        truth = coco_class()
        truth.dataset = share.truth
        truth.createIndex()
        if share.evaluator == "pycocotools" and share.rows:
            found = truth.loadRes(share.rows)
        else:
            found = _results(coco_class, share)
        evaluation = eval_class(truth, found, share.task)
        if share.truth[SIGMAS_KEY]:
            evaluation.params.kpt_oks_sigmas = np.array(share.truth[SIGMAS_KEY])
        evaluation.params.imgIds = list(share.image_ids)
        # faster-coco-eval leaves out, of keypoints alone, the categories without an object.
        evaluation.params.catIds = sorted(truth.getCatIds())
        # faster-coco-eval's threads hold each other up: what they call keeps Python's lock.
        evaluation.rle_iou_max_workers = 1
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"]))


def summary(evaluator: OneEvaluator, task: Task, curves: Curves) -> tuple[float, ...]:
    """The evaluator's numbers of all categories together, 0…1, −1 where undefined.

    Args:
        evaluator: Whose summary to use.
        task: What was scored.
        curves: Curves of all categories (``measure.scoring_processes.joined``).
    """
    _, eval_class = evaluator_classes(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = eval_class(iouType=task)
        evaluation.eval = {"precision": curves.precision, "recall": curves.recall}
        evaluation.summarize()
    return tuple(float(value) for value in evaluation.stats[: len(TASKS[task].metrics)])


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
    elif share.task == "keypoints":
        for row in share.rows:
            row["bbox"] = spanned_box(row["keypoints"])
        areas = [row["bbox"][2] * row["bbox"][3] for row in share.rows]
    else:
        areas = [row["bbox"][2] * row["bbox"][3] for row in share.rows]
    for number, (row, area) in enumerate(zip(share.rows, areas, strict=True), start=1):
        row.update(id=number, area=area, iscrowd=0)
    results = coco_class()
    results.dataset = {**share.truth, "annotations": share.rows}
    results.createIndex()
    return results


def boundary_metrics(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
) -> dict[str, float | None]:
    """``boundary/AP`` … ``boundary/ARl``, 0-100; None where there is no such ground truth.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results with masks; those of other images are left out.
        image_ids: The images that count.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    wanted = frozenset(image_ids)
    numbering = numbering_of(annotations)
    rows = [result_row(row, "segm", numbering) for row in predictions if row["image_id"] in wanted]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(annotations, "segm", numbering)
        truth.createIndex()
        if not rows:
            return {f"boundary/{name}": None for name in DETECTION_METRICS}
        evaluation = COCOeval_faster(truth, truth.loadRes(rows), "boundary")
        evaluation.params.imgIds = sorted(numbering.image_numbers(image_ids))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [float(value) for value in evaluation.stats[: len(DETECTION_METRICS)]]
    return {
        f"boundary/{name}": None if value < 0 else 100 * value
        for name, value in zip(DETECTION_METRICS, values, strict=True)
    }
