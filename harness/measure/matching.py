"""What became of every detection and every object at one IoU threshold: found, false, missed.

Matching is COCOeval's: the best score chooses first, within a category; crowds match any number of
detections, which then count neither way. What a false detection is instead is told apart as in
"TIDE: A General Toolbox for Identifying Object Detection Errors" (Bolya et al., 2020), with its two
thresholds.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.measure.evaluators import Task, ground_truth, result_row

Row = Mapping[str, Any]

#: hit: an object of its category. ignored: lies in a crowd. duplicate: an object that a better
#: detection has. other class: an object of another category. misplaced: one of its category, but
#: not well enough. background: nothing is there.
Kind = Literal["hit", "ignored", "duplicate", "other class", "misplaced", "background"]
FALSE_KINDS: tuple[Kind, ...] = ("duplicate", "other class", "misplaced", "background")

#: An overlap that makes a match, and the least that makes a detection be about an object.
MATCH_IOU = 0.5
TOUCH_IOU = 0.1


@dataclass(frozen=True, slots=True)
class Judged:
    """One detection. row: its position among the predictions. instead: category that is there."""

    row: int
    kind: Kind
    instead: int | None = None


@dataclass(frozen=True, slots=True)
class ImageHits:
    """One image. missed: positions among the annotations, without crowds."""

    image_id: int
    detections: tuple[Judged, ...]
    missed: tuple[int, ...]

    @property
    def hits(self) -> int:
        """Detections that found an object."""
        return sum(one.kind == "hit" for one in self.detections)

    @property
    def false(self) -> int:
        """Detections that should not be there."""
        return sum(one.kind in FALSE_KINDS for one in self.detections)

    @property
    def errors(self) -> int:
        """What is wrong with the image, all together."""
        return self.false + len(self.missed)


def image_hits(
    annotations: Mapping[str, Any],
    predictions: Sequence[Row],
    task: Task,
    image_ids: Sequence[int],
) -> list[ImageHits]:
    """The verdict on each image, in the order of ``image_ids``.

    annotations: of ``data.coco.read_annotations``. predictions: valid COCO results; all of them
    count, whatever they score.
    """
    truth = ground_truth(annotations, task)
    matched, ignored, missed = _matched(truth, predictions, task, image_ids)
    objects: dict[int, list[Row]] = defaultdict(list)
    for row in truth["annotations"]:
        objects[row["image_id"]].append(row)
    found: dict[int, list[int]] = defaultdict(list)
    for number, prediction in enumerate(predictions):
        found[prediction["image_id"]].append(number)
    return [
        ImageHits(
            image_id=image,
            detections=tuple(
                _judged(found[image], predictions, objects[image], task, matched, ignored)
            ),
            missed=tuple(sorted(missed[image])),
        )
        for image in image_ids
    ]


def _matched(
    truth: dict[str, Any], predictions: Sequence[Row], task: Task, image_ids: Sequence[int]
) -> tuple[set[int], set[int], dict[int, list[int]]]:
    """Predictions that hit, predictions that are ignored, annotations that are missed by image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [result_row(row, task) for row in predictions]
    matched: set[int] = set()
    ignored: set[int] = set()
    missed: dict[int, list[int]] = defaultdict(list)
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = truth
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(rows) if rows else COCO(), task)
        evaluation.params.imgIds = sorted(image_ids)
        evaluation.params.iouThrs = np.array([MATCH_IOU])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [max(len(rows), 1)]
        evaluation.evaluate()
    for cell in evaluation.evalImgs:
        if cell is None:
            continue
        # Ids were given from 1: to annotations by ground_truth, to predictions by loadRes.
        for identifier, match, aside in zip(
            cell["dtIds"], cell["dtMatches"][0], cell["dtIgnore"][0], strict=True
        ):
            if aside:
                ignored.add(identifier - 1)
            elif match:
                matched.add(identifier - 1)
        for identifier, match, aside in zip(
            cell["gtIds"], cell["gtMatches"][0], cell["gtIgnore"], strict=True
        ):
            if not match and not aside:
                missed[cell["image_id"]].append(identifier - 1)
    return matched, ignored, missed


def _judged(
    numbers: Sequence[int],
    predictions: Sequence[Row],
    objects: Sequence[Row],
    task: Task,
    matched: set[int],
    ignored: set[int],
) -> list[Judged]:
    """Each detection of one image, best score first."""
    ordered = sorted(numbers, key=lambda number: -float(predictions[number]["score"]))
    overlaps = _overlaps([predictions[number] for number in ordered], objects, task)
    judged = []
    for number, ious in zip(ordered, overlaps, strict=True):
        if number in matched:
            judged.append(Judged(number, "hit"))
        elif number in ignored:
            judged.append(Judged(number, "ignored"))
        else:
            judged.append(_fault(number, predictions[number]["category_id"], ious, objects))
    return judged


def _fault(
    number: int, category: int, ious: npt.NDArray[np.float64], objects: Sequence[Row]
) -> Judged:
    own = np.array([one["category_id"] == category for one in objects], dtype=bool)
    if ious[own].max(initial=0.0) >= MATCH_IOU:
        return Judged(number, "duplicate")
    if ious[~own].max(initial=0.0) >= MATCH_IOU:
        best = int(np.where(own, -1.0, ious).argmax())
        return Judged(number, "other class", int(objects[best]["category_id"]))
    if ious[own].max(initial=0.0) >= TOUCH_IOU:
        return Judged(number, "misplaced")
    return Judged(number, "background")


def _overlaps(rows: Sequence[Row], objects: Sequence[Row], task: Task) -> npt.NDArray[np.float64]:
    """(detections, objects) IoU of boxes or masks; of a crowd, over the detection alone."""
    from pycocotools import mask as coco_mask

    if not rows or not objects:
        return np.zeros((len(rows), len(objects)))
    crowds = [int(one["iscrowd"]) for one in objects]
    if task == "bbox":
        found, there = (
            np.array([row["bbox"] for row in side], dtype=np.float64) for side in (rows, objects)
        )
        return np.asarray(coco_mask.iou(found, there, crowds))
    # COCOeval has turned the outlines of objects into run lengths.
    masks, outlines = ([row["segmentation"] for row in side] for side in (rows, objects))
    return np.asarray(coco_mask.iou(masks, outlines, crowds))
