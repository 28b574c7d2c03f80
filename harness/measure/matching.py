"""True positives, false positives and false negatives at one IoU threshold.

Matching is COCOeval's: the best score chooses first, within a category; crowds match any number of
detections, which then count neither way. The kinds of false positives are those of
"TIDE: A General Toolbox for Identifying Object Detection Errors" (Bolya et al., 2020), with its two
thresholds and its names.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.measure.children import Asked, in_child_if_long
from harness.measure.evaluators import Task, ground_truth, numbering_of, result_row

Row = Mapping[str, Any]

#: true positive: matches an object of its category. ignored: is in a crowd. duplicate: overlaps an
#: object that a better detection matches. classification: overlaps an object of another category.
#: localization: overlaps one of its category, but not well enough. background: overlaps none.
Kind = Literal[
    "true positive", "ignored", "duplicate", "classification", "localization", "background"
]
FALSE_POSITIVE_KINDS: tuple[Kind, ...] = (
    "duplicate",
    "classification",
    "localization",
    "background",
)

#: An overlap that makes a match, and the least that makes a detection be about an object.
MATCH_IOU = 0.5
TOUCH_IOU = 0.1


@dataclass(frozen=True, slots=True)
class Judged:
    """One detection."""

    row: int
    """Its position among the predictions."""
    kind: Kind
    """What it is."""
    instead: int | None = None
    """Of a classification error: the category id of the object that is there."""


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """One image."""

    image_id: int
    """COCO's id."""
    detections: tuple[Judged, ...]
    """Its detections, best score first."""
    false_negatives: tuple[int, ...]
    """Positions among the annotations of the objects that no detection matches, without crowds."""

    @property
    def true_positives(self) -> int:
        """Detections that match an object."""
        return sum(one.kind == "true positive" for one in self.detections)

    @property
    def false_positives(self) -> int:
        """Detections that match none, without those in crowds."""
        return sum(one.kind in FALSE_POSITIVE_KINDS for one in self.detections)

    @property
    def errors(self) -> int:
        """False positives and false negatives together."""
        return self.false_positives + len(self.false_negatives)


@dataclass(slots=True)
class _Matches:
    """What COCOeval matched."""

    matched: set[int] = field(default_factory=set)
    """Positions of the predictions that match an object."""
    ignored: set[int] = field(default_factory=set)
    """Positions of the predictions that count neither way."""
    lacking: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Positions of the annotations without a match, by image number."""


def judge_images(
    annotations: Mapping[str, Any],
    predictions: Sequence[Row],
    task: Task,
    image_ids: Sequence[int],
) -> list[JudgedImage]:
    """The verdict on each image, in the order of ``image_ids``.

    Args:
        annotations: Of ``data.coco.read_annotations``.
        predictions: Valid COCO results; all of them count, whatever they score.
        task: Boxes or masks.
        image_ids: The images to judge.
    """
    return in_child_if_long(_judge, (annotations, predictions, task, tuple(image_ids)))


def _judge(asked: Asked) -> list[JudgedImage]:
    annotations, predictions, task, image_ids = asked
    numbering = numbering_of(annotations)
    truth = ground_truth(annotations, task, numbering)
    numbers = numbering.image_numbers(image_ids)
    rows = [result_row(row, task, numbering) for row in predictions]
    matches = _matched(truth, [dict(row) for row in rows], task, numbers)
    objects: dict[int, list[Row]] = defaultdict(list)
    for row in truth["annotations"]:
        objects[row["image_id"]].append(row)
    found: dict[int, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        found[row["image_id"]].append(position)
    category_ids = {number: one for one, number in numbering.categories.items()}
    return [
        JudgedImage(
            image_id=image_id,
            detections=tuple(
                _judged(found[number], rows, objects[number], task, matches, category_ids)
            ),
            false_negatives=tuple(sorted(matches.lacking[number])),
        )
        for image_id, number in zip(image_ids, numbers, strict=True)
    ]


def _matched(
    truth: dict[str, Any], rows: list[dict[str, Any]], task: Task, images: Sequence[int]
) -> _Matches:
    """The matches of predictions and objects.

    Args:
        truth: Of ``ground_truth``; is written into.
        rows: Of ``result_row``; are written into.
        task: Boxes or masks.
        images: Numbers of the images.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = truth
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(rows) if rows else COCO(), task)
        evaluation.params.imgIds = sorted(images)
        evaluation.params.iouThrs = np.array([MATCH_IOU])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [max(len(rows), 1)]
        evaluation.evaluate()
    matches = _Matches()
    for cell in evaluation.evalImgs:
        if cell is None:
            continue
        # Ids are positions from 1: of annotations by ground_truth, of predictions by loadRes.
        for identifier, match, aside in zip(
            cell["dtIds"], cell["dtMatches"][0], cell["dtIgnore"][0], strict=True
        ):
            if aside:
                matches.ignored.add(identifier - 1)
            elif match:
                matches.matched.add(identifier - 1)
        for identifier, match, aside in zip(
            cell["gtIds"], cell["gtMatches"][0], cell["gtIgnore"], strict=True
        ):
            if not match and not aside:
                matches.lacking[cell["image_id"]].append(identifier - 1)
    return matches


def _judged(
    positions: Sequence[int],
    rows: Sequence[Row],
    objects: Sequence[Row],
    task: Task,
    matches: _Matches,
    category_ids: Mapping[int, int],
) -> list[Judged]:
    """Each detection of one image, best score first.

    Args:
        positions: Those of its detections among ``rows``.
        rows: All predictions.
        objects: Its annotations.
        task: Boxes or masks.
        matches: Of all images.
        category_ids: The data set's id by number.
    """
    ordered = sorted(positions, key=lambda position: -float(rows[position]["score"]))
    overlaps = _overlaps([rows[position] for position in ordered], objects, task)
    judged = []
    for position, ious in zip(ordered, overlaps, strict=True):
        if position in matches.matched:
            judged.append(Judged(position, "true positive"))
        elif position in matches.ignored:
            judged.append(Judged(position, "ignored"))
        else:
            kind, number = _false_positive(rows[position]["category_id"], ious, objects)
            judged.append(Judged(position, kind, category_ids.get(number)))
    return judged


def _false_positive(
    category: int, ious: npt.NDArray[np.float64], objects: Sequence[Row]
) -> tuple[Kind, int]:
    """What a detection is instead, and the number of the category that is there; 0 for none."""
    own = np.array([one["category_id"] == category for one in objects], dtype=bool)
    if ious[own].max(initial=0.0) >= MATCH_IOU:
        return "duplicate", 0
    if ious[~own].max(initial=0.0) >= MATCH_IOU:
        best = int(np.where(own, -1.0, ious).argmax())
        return "classification", int(objects[best]["category_id"])
    if ious[own].max(initial=0.0) >= TOUCH_IOU:
        return "localization", 0
    return "background", 0


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
