"""Every detection and object of a task at one IoU: what matched, and which error the rest is.

Matching and errors are those of "TIDE: A General Toolbox for Identifying Object Detection Errors"
(Bolya et al., 2020) as its authors' program computes them: the best score chooses first among the
objects of its category; a detection in a crowd of its category counts neither way; anything else is
one of five errors, tested in the order of ``ERRORS``. An object without a match is missed, unless a
localization or classification error is about it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError
from harness.core.tasks import TASKS, Task
from harness.measure.evaluators import ground_truth, numbering_of
from harness.measure.keypoints import SIGMAS_KEY, oks, spanned_box
from harness.measure.masks import compared_mask
from harness.measure.scoring_processes import Asked, in_child_if_long
from harness.measure.table import Table, table_of

Row = Mapping[str, Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: What a detection that matches no object may be. localization: overlaps an object of its category,
#: but not well enough. classification: overlaps an object of another category. duplicate: overlaps
#: an object that a better detection matches. background: overlaps nothing. both: overlaps an object
#: of another category, and not well enough.
Error = Literal["localization", "classification", "duplicate", "background", "both"]
ERRORS: tuple[Error, ...] = ("localization", "classification", "duplicate", "background", "both")
LOCALIZATION, CLASSIFICATION, DUPLICATE, BACKGROUND, BOTH = range(len(ERRORS))

#: true positive: matches an object of its category. ignored: is in a crowd.
Kind = Literal["true positive", "ignored"] | Error
FALSE_POSITIVE_KINDS: tuple[Kind, ...] = ERRORS

#: An overlap that makes a match, and the least that makes a detection be about an object.
MATCH_IOU = 0.5
TOUCH_IOU = 0.1

#: Detections of an image that count, over all categories.
MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """All detections and objects of one task on some images, matched at one IoU.

    Detections come image by image, best score first; objects image by image, without crowds.
    """

    category_ids: tuple[int, ...]
    """Those of the data set, ascending: the category id of each class index."""
    rows: Ints
    """(N,) positions of the detections among the predictions."""
    image: Ints
    """(N,) positions of their images in the list of image ids."""
    class_index: Ints
    """(N,) their class indices."""
    score: Floats
    """(N,) their scores."""
    area: Floats
    """(N,) areas of their boxes, px²."""
    hit: Bools
    """(N,) the detection matches an object."""
    ignored: Bools
    """(N,) the detection is in a crowd, and counts neither way."""
    error: Ints
    """(N,) position in ``ERRORS``; −1 for a true positive. Those that are ignored have one, too."""
    target: Ints
    """(N,) position among the objects of the one that is matched, or that a localization or
    classification error is about; else −1."""
    object_rows: Ints
    """(M,) positions of the objects among the annotations."""
    object_image: Ints
    """(M,) positions of their images in the list of image ids."""
    object_class_index: Ints
    """(M,) their class indices."""
    object_area: Floats
    """(M,) areas of their boxes, px²."""

    @property
    def matched(self) -> Bools:
        """(M,) whether a detection matches the object."""
        found = np.zeros(len(self.object_rows), dtype=bool)
        found[self.target[self.hit]] = True
        return found

    @property
    def correctable(self) -> Bools:
        """(N,) the detection would match a free object, if its box or its category were right.

        Of several that would match the same object, the first.
        """
        about = (self.error == LOCALIZATION) | (self.error == CLASSIFICATION)
        about &= ~self.matched[self.target] if len(self.object_rows) else False
        places = np.flatnonzero(about)
        _, first = np.unique(self.target[places], return_index=True)
        chosen = np.zeros(len(about), dtype=bool)
        chosen[places[first]] = True
        return chosen

    @property
    def missed(self) -> Bools:
        """(M,) the object is neither matched, nor is an error about it."""
        found = self.matched
        found[self.target[self.correctable]] = True
        return ~found


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


def judge_images(
    annotations: Mapping[str, Any],
    predictions: Sequence[Row],
    task: Task,
    image_ids: Sequence[int],
) -> list[JudgedImage]:
    """The verdict on each image, in the order of ``image_ids``.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results; all of them count, whatever they score.
        task: Boxes or masks.
        image_ids: The images to judge.
    """
    found = match_images(annotations, predictions, task, image_ids, most=None)
    judged: dict[int, list[Judged]] = defaultdict(list)
    for position, image in enumerate(found.image):
        judged[int(image)].append(_judged(found, position))
    lacking: dict[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(~found.matched).tolist():
        lacking[int(found.object_image[place])].append(int(found.object_rows[place]))
    return [
        JudgedImage(
            image_id=image_id,
            detections=tuple(judged[number]),
            false_negatives=tuple(sorted(lacking[number])),
        )
        for number, image_id in enumerate(image_ids)
    ]


def _judged(found: Matching, position: int) -> Judged:
    row, error = int(found.rows[position]), int(found.error[position])
    if found.hit[position]:
        return Judged(row, "true positive")
    if found.ignored[position]:
        return Judged(row, "ignored")
    if error == CLASSIFICATION:
        there = int(found.object_class_index[found.target[position]])
        return Judged(row, "classification", found.category_ids[there])
    return Judged(row, ERRORS[error])


def match_images(
    annotations: Mapping[str, Any],
    predictions: Sequence[Row],
    task: Task,
    image_ids: Sequence[int],
    *,
    most: int | None = MAX_DETECTIONS,
) -> Matching:
    """Match the detections of some images with their objects.

    Args:
        annotations: As returned by ``data.coco.read_annotations``.
        predictions: Valid COCO results; those of other images are left out.
        task: Boxes or masks.
        image_ids: The images.
        most: Detections of an image that count, the best; None for all.
    """
    if most is None:
        return in_child_if_long(_match_all, (annotations, predictions, task, tuple(image_ids)))
    return in_child_if_long(_match_best, (annotations, predictions, task, tuple(image_ids)))


def _match_all(asked: Asked) -> Matching:
    return _match(asked, None)


def _match_best(asked: Asked) -> Matching:
    return _match(asked, MAX_DETECTIONS)


#: (D, G) IoU of the best detections of an image with all its objects, by the image's position.
KnownOverlaps = Callable[[int], Floats]


def match_table(
    annotations: Mapping[str, Any],
    table: Table,
    task: Task,
    image_ids: Sequence[int],
    *,
    most: int | None = MAX_DETECTIONS,
    known: KnownOverlaps | None = None,
) -> Matching:
    """Match the detections of a table with their objects, in this process.

    Args:
        annotations: As in ``match_images``.
        table: The detections on the images.
        task: Boxes, masks or keypoints.
        image_ids: The images.
        most: As in ``match_images``.
        known: IoUs that were computed before: detections by score, objects as they are annotated,
            and of a crowd the share of a detection that is in it; None to compute them.

    Raises:
        IntegrityError: The detections lack what the task needs.
    """
    numbering = numbering_of(annotations)
    sizes = {numbering.images[one["id"]]: one for one in annotations["images"]}
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    truth = ground_truth(annotations, task, numbering)
    for row in truth["annotations"]:
        objects[row["image_id"]].append(row)
    if len(table) and getattr(table, COLUMNS[task]) is None:
        where = f"a prediction for image {image_ids[int(table.image[0])]}"
        raise IntegrityError(f"{where} has no {TASKS[task].key}")
    ordered = table.chosen(np.lexsort((-table.score, table.image)))
    begins = np.searchsorted(ordered.image, np.arange(len(image_ids) + 1)).tolist()
    parts = []
    count = 0
    for position, number in enumerate(numbering.image_numbers(image_ids)):
        size = sizes[number]["height"], sizes[number]["width"]
        found = ordered.between(*begins[position : position + 2], most=most)
        image = _Image(found, objects[number], task, size, truth[SIGMAS_KEY])
        if known is not None:
            image.known = known(position)
        parts.append(image.matched(position, count))
        count += image.object_count
    return _joined(parts, tuple(sorted(numbering.categories)))


def _match(asked: Asked, most: int | None) -> Matching:
    annotations, predictions, task, image_ids = asked
    keys = frozenset(("bbox", TASKS[task].key))
    table = table_of(annotations, predictions, image_ids, keys=keys)
    return match_table(annotations, table, task, image_ids, most=most)


#: The column of a table that has what a task compares.
COLUMNS: Mapping[Task, str] = {
    "bbox": "boxes_xywh_px",
    "segm": "counts",
    "keypoints": "keypoints",
}


class _Image:
    """The detections and objects of one image."""

    def __init__(
        self,
        found: Table,
        objects: Sequence[dict[str, Any]],
        task: Task,
        size: tuple[int, int],
        sigmas: Sequence[float] = (),
    ) -> None:
        self._found, self._task, self._size, self._sigmas = found, task, size, sigmas
        # COCO ignores an object without a labelled keypoint as it does a crowd.
        aside = [bool(one["iscrowd"]) or one.get("num_keypoints") == 0 for one in objects]
        self._objects = [one for one, out in zip(objects, aside, strict=True) if not out]
        self._crowds = [one for one, out in zip(objects, aside, strict=True) if out]
        self._aside = np.array(aside, dtype=bool)
        #: (detections, objects and crowds in their order) IoU, where it was computed before.
        self.known: Floats | None = None

    @property
    def object_count(self) -> int:
        """Objects without crowds."""
        return len(self._objects)

    def matched(self, position: int, before: int) -> dict[str, npt.NDArray[Any]]:
        """The arrays of ``Matching`` for this image.

        Args:
            position: Position of the image in the list of image ids.
            before: Objects of the images before it.
        """
        found = self._found
        count = len(found)
        shapes = self._found_shapes() if count and self.known is None else None
        # Ids of categories are positions from 1 (``ground_truth``).
        category = np.array([one["category_id"] - 1 for one in self._objects], dtype=np.int64)
        overlaps = self._overlaps(shapes, crowd=False)
        same = found.category[:, None] == category[None, :]
        target = _greedy(overlaps * same)
        hit = target >= 0
        error, about = _errors(overlaps, same, target)
        target = np.where(hit, target, about)
        return {
            "rows": found.place,
            "image": np.full(count, position, dtype=np.int64),
            "class_index": found.category,
            "score": found.score,
            "area": self._areas(),
            "hit": hit,
            "ignored": ~hit & self._in_crowd(shapes),
            "error": np.where(hit, -1, error),
            "target": np.where(target >= 0, target + before, -1),
            # So are those of objects.
            "object_rows": np.array([one["id"] - 1 for one in self._objects], dtype=np.int64),
            "object_image": np.full(len(self._objects), position, dtype=np.int64),
            "object_class_index": category,
            "object_area": np.array(
                [one["bbox"][2] * one["bbox"][3] for one in self._objects], dtype=np.float64
            ),
        }

    def _shapes(self, rows: Sequence[Row]) -> Any:
        """What pycocotools compares: (n, 4) boxes x, y, width, height in px, or run lengths; rows
        with their keypoints.
        """
        if self._task == "keypoints":
            return rows
        if self._task == "bbox":
            return np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
        return [compared_mask(row["segmentation"], *self._size) for row in rows]

    def _found_shapes(self) -> Any:
        """The same of the detections, of which there is one at least."""
        found = self._found
        if self._task == "bbox":
            return found.boxes_xywh_px
        if self._task == "keypoints":
            return [{"keypoints": points} for points in found.keypoints or ()]
        return self._shapes([{"segmentation": mask} for mask in found.masks()])

    def _areas(self) -> Floats:
        """(n,) areas of the boxes, px²; a mask or keypoints without a box have the one around."""
        from pycocotools import mask as coco_mask

        boxes = self._found.boxes_xywh_px
        if not len(self._found):
            return np.zeros(0)
        if boxes is None and self._task == "keypoints":
            boxes = np.array([spanned_box(points) for points in self._found.keypoints or ()])
        elif boxes is None:
            boxes = coco_mask.toBbox(self._found_shapes())
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        areas: Floats = boxes[:, 2] * boxes[:, 3]
        return areas

    def _overlaps(self, shapes: Any, *, crowd: bool) -> Floats:
        """(detections, objects) IoU or OKS; with crowds, the share of a detection that is in one.

        Args:
            shapes: Shapes of the detections; None without any, and where the overlaps are known.
            crowd: Whether with the crowds or with the other objects.
        """
        from pycocotools import mask as coco_mask

        if self.known is not None:
            return self.known[:, self._aside == crowd]
        others = self._crowds if crowd else self._objects
        if not len(self._found) or not others:
            return np.zeros((len(self._found), len(others)))
        if self._task == "keypoints":
            return oks(shapes, others, self._sigmas)
        found = coco_mask.iou(shapes, self._shapes(others), [int(crowd)] * len(others))
        return np.asarray(found, dtype=np.float64)

    def _in_crowd(self, shapes: Any) -> Bools:
        if not self._crowds:
            return np.zeros(len(self._found), dtype=bool)
        category = np.array([one["category_id"] - 1 for one in self._crowds], dtype=np.int64)
        inside = self._overlaps(shapes, crowd=True) > MATCH_IOU
        found: Bools = (inside & (self._found.category[:, None] == category[None, :])).any(axis=1)
        return found


def _greedy(own: Floats) -> Ints:
    """(D,) the object that each detection matches; −1 for none.

    Args:
        own: (D, G) IoU where the categories are the same, else 0; best score first.
    """
    target = np.full(len(own), -1, dtype=np.int64)
    if not own.size:
        return target
    free = own.copy()
    for row in np.flatnonzero(own.max(axis=1) >= MATCH_IOU):
        best = int(free[row].argmax())
        if free[row, best] >= MATCH_IOU:
            target[row] = best
            free[:, best] = 0
    return target


def _errors(overlaps: Floats, same: Bools, target: Ints) -> tuple[Ints, Ints]:
    """(D,) the error that each detection is unless it matches, and the object it is about, or −1.

    Args:
        overlaps: (D, G) IoU.
        same: (D, G) whether the categories are the same.
        target: (D,) of ``_greedy``.
    """
    count = len(overlaps)
    if not overlaps.size:
        return np.full(count, BACKGROUND), np.full(count, -1)
    own, other = overlaps * same, overlaps * ~same
    used = np.zeros(overlaps.shape[1], dtype=bool)
    used[target[target >= 0]] = True
    best, instead = own.max(axis=1), other.max(axis=1)
    error = np.full(count, BOTH)  # what is tested first is written last
    error[np.maximum(best, instead) <= TOUCH_IOU] = BACKGROUND
    error[(own * used).max(axis=1) >= MATCH_IOU] = DUPLICATE
    error[instead >= MATCH_IOU] = CLASSIFICATION
    error[(best >= TOUCH_IOU) & (best <= MATCH_IOU)] = LOCALIZATION
    about = np.full(count, -1)
    for kind, among in ((LOCALIZATION, own), (CLASSIFICATION, other)):
        rows = np.flatnonzero(error == kind)
        about[rows] = among[rows].argmax(axis=1)
    return error, about


#: A data set without images and categories.
NOTHING: Mapping[str, Any] = {"images": (), "categories": (), "annotations": ()}


def _joined(
    parts: Sequence[Mapping[str, npt.NDArray[Any]]], category_ids: tuple[int, ...]
) -> Matching:
    """The arrays of all images after each other."""
    names = [one.name for one in fields(Matching) if one.name != "category_ids"]
    # Without an image there is still an array of each kind.
    parts = parts or [_Image(table_of(NOTHING, (), ()), (), "bbox", (1, 1)).matched(0, 0)]
    whole: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return Matching(category_ids=category_ids, **whole)
