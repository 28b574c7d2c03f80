"""What one process scores: some categories of a task whose detections were compared before.

The evaluator matches and accumulates as always, but overlaps and areas are given to it: a mask is
read and compared once. Below the least threshold an overlap decides nothing, so that pairs above it
are all there is to know. An evaluator that compares by itself finds the same numbers, bit for bit
(``tests/measure/test_parallel.py``). Each category is scored on the images that it is on, for
the evaluator takes time for every image and category that it is asked about.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.garbage_collection import collector_paused
from harness.core.tasks import TASKS, Task
from harness.measure.chunks import Compared
from harness.measure.columns import Booleans, Floats, Integers
from harness.measure.evaluators import Curves, Share, curves_of, evaluator_classes, numbering_of
from harness.measure.scoring_processes import loads_shared
from harness.measure.table import Table

#: A task, the numbers of its categories in the order of the curves, and the curves.
Scored = tuple[Task, Sequence[int], Curves]


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some categories of one task."""

    task: Task
    """Boxes or masks."""
    categories: tuple[int, ...]
    """Positions of the categories, ascending."""
    image_count: int
    """How many images there are; their numbers are 1 … this."""
    image: Integers
    """(N,) numbers of the images of the detections, in the order of the ids."""
    category: Integers
    """(N,) positions of their categories."""
    score: Floats
    """(N,) their scores."""
    area_px: Floats
    """(N,) what decides their size class."""
    object_image: Integers
    """(M,) numbers of the images of the objects."""
    object_category: Integers
    """(M,) positions of their categories."""
    object_area_px: Floats
    """(M,) what decides their size class."""
    crowd: Booleans
    """(M,) whether they match any number of detections."""
    pair_detection: Integers
    """(P,) positions among the detections of those that overlap an object of their category."""
    pair_object: Integers
    """(P,) positions of these objects."""
    pair_iou: Floats
    """(P,) how much they overlap."""


def portions_of(
    annotations: Mapping[str, Any],
    image_ids: Sequence[int],
    compared: Mapping[Task, Compared],
    table: Table,
    count: int,
) -> list[Portion]:
    """Every category of every task in one portion; none takes much longer than another.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        image_ids: The images that are scored.
        compared: What was found of each task.
        table: All detections.
        count: How many portions of each task to make at most.
    """
    # Of equal scores the evaluator takes the image with the lower id first.
    numbers = np.array(numbering_of(annotations).image_numbers(image_ids), dtype=np.int64)
    number = np.argsort(np.argsort(numbers)) + 1
    categories = len(annotations["categories"])
    portions = []
    for task, found in compared.items():
        rows = np.bincount(table.category, minlength=categories)
        rows += np.bincount(found.objects.category, minlength=categories)
        owner = np.array(loads_shared(rows.tolist(), count), dtype=np.int64)
        portions += [
            _portion(task, found, table, number, np.flatnonzero(owner == one))
            for one in np.unique(owner).tolist()
        ]
    return portions


def _portion(
    task: Task, found: Compared, table: Table, number: Integers, categories: Integers
) -> Portion:
    """Some categories of what was found of a task.

    Args:
        task: Boxes or masks.
        found: Detections of all categories.
        table: All detections.
        number: (images,) number of each image for the evaluator.
        categories: Positions of the ones that are wanted.
    """
    rows = np.flatnonzero(np.isin(table.category, categories))
    there = np.flatnonzero(np.isin(found.objects.category, categories))
    pairs = np.flatnonzero(np.isin(table.category[found.pairs.detection], categories))
    return Portion(
        task=task,
        categories=tuple(categories.tolist()),
        image_count=len(number),
        image=number[table.image[rows]],
        category=table.category[rows],
        score=table.score[rows],
        area_px=found.area_px[rows],
        object_image=number[found.objects.image[there]],
        object_category=found.objects.category[there],
        object_area_px=found.objects.area_px[there],
        crowd=found.objects.crowd[there],
        pair_detection=np.searchsorted(rows, found.pairs.detection[pairs]),
        pair_object=np.searchsorted(there, found.pairs.object[pairs]),
        pair_iou=found.pairs.iou[pairs],
    )


def score_portion(portion: Portion) -> list[Scored]:
    """Score the categories of a portion, one after the other."""
    return [(portion.task, [one], _curves(portion, one)) for one in portion.categories]


def _curves(portion: Portion, category: int) -> Curves:
    """Precision and recall of one category."""
    _, eval_class = evaluator_classes("fast")
    rows = np.flatnonzero(portion.category == category)
    there = np.flatnonzero(portion.object_category == category)
    images = np.unique(np.concatenate((portion.image[rows], portion.object_image[there], [1])))
    truth = _Rows(images.tolist(), _objects(portion, there))
    found = _Rows(images.tolist(), _detections(portion, rows))
    with contextlib.redirect_stdout(io.StringIO()), collector_paused():
        # With overlaps and areas at hand, masks are as boxes.
        evaluation = eval_class(truth, found, "bbox")
        evaluation.computeIoU = _Overlaps(portion, category, rows, there).of_image
        # A copy that is as deep takes longer than all else, for every image is copied by itself.
        evaluation.params.__deepcopy__ = lambda _: copy(evaluation.params)
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"]))


class _Rows:
    """Rows of one category, as the evaluator asks a data set for them.

    Args:
        images: Numbers of the images that count.
        rows: Objects or detections, all of them on these images.
    """

    def __init__(self, images: list[int], rows: list[dict[str, Any]]) -> None:
        self._images, self._rows = images, rows

    def getImgIds(self) -> list[int]:
        """Numbers of the images."""
        return self._images

    def getCatIds(self) -> list[int]:
        """The number of the category."""
        return [1]

    def getAnnIds(self, **_: Any) -> range:
        """Positions of all rows: none is of another image or category."""
        return range(len(self._rows))

    def loadAnns(self, _: range) -> list[dict[str, Any]]:
        """All rows."""
        return self._rows


def _objects(portion: Portion, there: Integers) -> list[dict[str, Any]]:
    """Some objects as the evaluator sees them."""
    columns = portion.object_image, portion.object_area_px, portion.crowd
    return [
        {"id": number, "image_id": image, "category_id": 1, "area": area, "iscrowd": int(crowd)}
        for number, (image, area, crowd) in enumerate(
            zip(*(one[there].tolist() for one in columns), strict=True), start=1
        )
    ]


def _detections(portion: Portion, rows: Integers) -> list[dict[str, Any]]:
    """Some detections as the evaluator sees them."""
    columns = portion.image, portion.score, portion.area_px
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "score": score,
            "area": area,
            "iscrowd": 0,
        }
        for number, (image, score, area) in enumerate(
            zip(*(one[rows].tolist() for one in columns), strict=True), start=1
        )
    ]


class _Overlaps:
    """The overlaps of one category as the evaluator asks for them.

    Args:
        portion: With the pairs.
        category: The position of the category.
        rows: Positions of its detections.
        there: Positions of its objects.
    """

    def __init__(self, portion: Portion, category: int, rows: Integers, there: Integers) -> None:
        most, size = TASKS[portion.task].most_detections, portion.image_count + 1
        image, object_image = portion.image[rows], portion.object_image[there]
        found = np.bincount(image, minlength=size)
        self._found = np.minimum(found, most)
        self._there = np.bincount(object_image, minlength=size)
        self._begins = np.concatenate((np.zeros(1, np.int64), np.cumsum(self._found * self._there)))
        rank = _places_in(image, np.lexsort((-portion.score[rows], image)), found)
        column = _places_in(object_image, np.argsort(object_image, kind="stable"), self._there)
        pairs = np.flatnonzero(portion.category[portion.pair_detection] == category)
        detection = np.searchsorted(rows, portion.pair_detection[pairs])
        own = np.searchsorted(there, portion.pair_object[pairs])
        begin = self._begins[image[detection]]
        self._flat = np.zeros(int(self._begins[-1]))
        places = begin + rank[detection] * self._there[image[detection]] + column[own]
        self._flat[places] = portion.pair_iou[pairs]

    def of_image(self, image: int, _category: int) -> list[list[float]]:
        """Of each detection of an image, the best score first, the overlaps with all objects."""
        begin, end = self._begins[image], self._begins[image + 1]
        shape = int(self._found[image]), int(self._there[image])
        return [row.tolist() for row in self._flat[begin:end].reshape(shape)]


def _places_in(image: Integers, order: Integers, count: Integers) -> Integers:
    """(n,) the place of each row among those of its image.

    Args:
        image: (n,) of each row.
        order: (n,) rows image by image, in the order of the places.
        count: Rows of each image, by its number.
    """
    places = np.empty(len(image), dtype=np.int64)
    places[order] = np.arange(len(image)) - (np.cumsum(count) - count)[image[order]]
    return places


def score_all(shares: Sequence[Share]) -> list[Scored]:
    """Score shares that were made of rows.

    Args:
        shares: As returned by ``measure.scoring_processes.partitioned``.
    """
    return [(share.task, share.category_ids, curves_of(share)) for share in shares]
