"""COCOeval's matching, for all images, categories, IoU thresholds and size classes at once.

``COCOeval.evaluateImg`` takes the detections of a category on an image one after the other, the
best score first; each takes the free object that it overlaps most, and a crowd or an object of
another size class only where there is no other. What one takes another cannot have, so the order
counts within an image and category and nowhere else: the first detections of all of them are
matched together, then the second ones. Equal to pycocotools to the last match
(``tests/measure/test_greedy.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.measure.columns import Booleans, Floats, Integers, Mask, Objects, Results
from harness.measure.keypoints import pair_oks

#: COCOeval: thresholds of IoU, or of OKS.
IOUS = np.linspace(0.5, 0.95, 10)

#: COCOeval: size classes, by the least and the greatest area in px.
SIZES: dict[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Detections and objects of one image and category that overlap."""

    detection: Integers
    """(P,) positions of the detections."""
    object: Integers
    """(P,) positions of the objects."""
    iou: Floats
    """(P,) their IoU, of a crowd over the detection alone; or their OKS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """The IoU of every detection with every object of its image, whatever their categories."""

    iou: Floats
    """(all pairs,) image by image, detection by detection; of a crowd over the detection alone."""
    row: Integers
    """(N,) where the pairs of each detection begin in ``iou``."""
    column: Integers
    """(M,) the position of each object among those of its image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What the kept detections match, at T thresholds in A size classes."""

    kept: Integers
    """(N,) positions of the detections that are evaluated, best score first within a category."""
    object: npt.NDArray[np.int32]
    """(A, T, N) position of the object that each matches; −1 for none."""
    counted: Booleans
    """(A, T, N) false where a detection counts neither way."""
    ignored: Booleans
    """(A, objects) objects that do not count: crowds, and those of other size classes."""


def match(
    objects: Objects,
    results: Results,
    *,
    ious: Floats = IOUS,
    sizes: Sequence[tuple[float, float]] = tuple(SIZES.values()),
) -> Matching:
    """Match detections with objects as COCOeval does, from boxes, masks or keypoints.

    Args:
        objects: The ground truth.
        results: The detections.
        ious: (T,) overlaps that make a match, ascending, above 0.
        sizes: Least and greatest area of A size classes, in px.
    """
    kept = kept_detections(results)
    pairs = overlapping(objects, results, kept, least=float(ious.min(initial=1.0)))
    return match_pairs(objects, results, kept, pairs, ious=ious, sizes=sizes)


def match_pairs(
    objects: Objects,
    results: Results,
    kept: Integers,
    pairs: Pairs,
    *,
    ious: Floats = IOUS,
    sizes: Sequence[tuple[float, float]] = tuple(SIZES.values()),
) -> Matching:
    """What ``match`` returns, of pairs that are known; no mask or keypoint is looked at.

    Args:
        kept: As returned by ``kept_detections``.
        pairs: As returned by ``overlapping``, with the least of ``ious``.
    """
    ignored = np.stack(
        [
            objects.ignored | (objects.area_px < least) | (objects.area_px > greatest)
            for least, greatest in sizes
        ]
    )
    place = np.zeros(len(results), dtype=np.int64)
    place[kept] = np.arange(len(kept))
    among_kept = replace(pairs, detection=place[pairs.detection])
    found = _taken(among_kept, objects, ignored, ious, len(kept))
    # What is of another size and matches nothing is no error of this size class.
    area = results.area_px[kept]
    outside = np.stack([(area < least) | (area > greatest) for least, greatest in sizes])
    counted = np.repeat(~outside[:, None, :], len(ious), axis=1)
    size, threshold, place = np.nonzero(found >= 0)
    counted[size, threshold, place] = ~ignored[size, found[size, threshold, place]]
    return Matching(kept=kept, object=found, counted=counted, ignored=ignored)


def kept_detections(results: Results) -> Integers:
    """(N,) positions of the best of each image and category, in the order of accumulation.

    That is by category, then by score; what scores the same stays in the order of images, and
    within an image in that of the rows.
    """
    image, category = _small(results.image), _small(results.category)
    order = np.lexsort((-results.score, category, image))
    rank = _rank_in_runs(_cells(results.image, results.category)[order])
    order = order[rank < results.most]
    # What is equal stays as it is: by image, and within an image by score and row.
    return order[np.lexsort((-results.score[order], category[order]))]


def _small(positions: Integers) -> npt.NDArray[np.integer[Any]]:
    """Positions in as few bits as they need, in which they are sorted in a fraction of the time."""
    return positions.astype(np.min_scalar_type(int(positions.max(initial=0))))


def overlapping(
    objects: Objects,
    results: Results,
    kept: Integers,
    *,
    least: float,
    known: Overlaps | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Pairs:
    """The pairs of one image and category whose IoU is not below ``least``.

    Detections are in the order in which they choose: by image and category, best score first; the
    objects of each by IoU, the one that COCOeval would choose last.

    Args:
        objects: The ground truth.
        results: The detections.
        kept: Positions of those that are evaluated.
        least: The least IoU of a pair, above 0.
        known: IoUs of masks that were computed before, of all pairs.
        watch: Called before the masks of each image and category; what it raises ends them.
    """
    cells = _cells(results.image[kept], results.category[kept])
    order = np.argsort(cells, kind="stable")
    detections, cells = kept[order], cells[order]
    object_cells = _cells(objects.image, objects.category)
    object_order = np.argsort(object_cells, kind="stable")
    sorted_cells = object_cells[object_order]
    first = np.searchsorted(sorted_cells, cells, side="left")
    count = np.searchsorted(sorted_cells, cells, side="right") - first
    owner = np.repeat(np.arange(len(detections)), count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    chosen = object_order[first[owner] + place]
    if known is not None:
        iou = known.iou[known.row[detections[owner]] + known.column[chosen]]
    elif objects.keypoints is not None and results.keypoints is not None:
        iou = _similarities(objects, results, detections[owner], chosen)
    elif objects.masks is None or results.masks is None:
        iou = box_ious(
            results.boxes_xywh_px[detections[owner]],
            objects.boxes_xywh_px[chosen],
            objects.crowd[chosen],
        )
    else:
        places = first, count, object_order
        iou = _ious_of_masks(results.masks, detections, cells, places, objects=objects, watch=watch)
    near = iou >= least
    owner, chosen, iou = owner[near], chosen[near], iou[near]
    ordered = np.lexsort((chosen, iou, owner))
    return Pairs(detection=detections[owner[ordered]], object=chosen[ordered], iou=iou[ordered])


def _taken(
    pairs: Pairs, objects: Objects, ignored: Booleans, ious: Floats, detections: int
) -> npt.NDArray[np.int32]:
    """(A, T, detections) the object that each detection takes; −1 for none."""
    shape = (len(ignored), len(ious))
    result = np.full((*shape, detections), -1, dtype=np.int32)
    if len(pairs.detection) == 0:
        return result
    free = np.ones((*shape, len(objects.image)), dtype=bool)
    starts = np.flatnonzero(np.diff(pairs.detection, prepend=-1))
    first = pairs.detection[starts]
    turn = _rank_in_runs(_cells(objects.image, objects.category)[pairs.object[starts]])
    by_turn = np.argsort(turn, kind="stable")
    lengths = np.diff(starts, append=len(pairs.detection))
    limits = np.searchsorted(turn[by_turn], np.arange(int(turn.max()) + 2))
    for begin, end in pairwise(limits):
        chosen = by_turn[begin:end]
        size = lengths[chosen]
        inner = np.cumsum(size) - size
        rows = np.arange(int(size.sum())) + np.repeat(starts[chosen] - inner, size)
        there = pairs.object[rows]
        open_ = free[:, :, there] | objects.crowd[there]
        open_ &= pairs.iou[rows] >= np.minimum(ious, 1 - 1e-10)[:, None]
        # The last in order is the best; any that counts is better than all that do not.
        rank = np.arange(len(rows)) + len(rows) * ~ignored[:, there]
        best = np.maximum.reduceat(np.where(open_, rank[:, None, :], -1), inner, axis=2)
        taken = np.where(best < 0, -1, there[best % len(rows)])
        result[:, :, first[chosen]] = taken
        size_class, threshold, _ = np.nonzero(taken >= 0)
        free[size_class, threshold, taken[taken >= 0]] = False
    return result


def box_ious(found: Floats, there: Floats, crowd: Booleans) -> Floats:
    """(P,) IoU of pairs of boxes, with the operations of pycocotools' ``bbIou`` in their order.

    Args:
        found: (P, 4) detections, x, y, width, height.
        there: (P, 4) objects.
        crowd: (P,) where the union is the detection alone.
    """
    width = np.minimum(found[:, 2] + found[:, 0], there[:, 2] + there[:, 0])
    width -= np.maximum(found[:, 0], there[:, 0])
    height = np.minimum(found[:, 3] + found[:, 1], there[:, 3] + there[:, 1])
    height -= np.maximum(found[:, 1], there[:, 1])
    both = width * height
    area = found[:, 2] * found[:, 3]
    union = np.where(crowd, area, area + there[:, 2] * there[:, 3] - both)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((width > 0) & (height > 0), both / union, 0.0)


def _similarities(objects: Objects, results: Results, found: Integers, there: Integers) -> Floats:
    """(P,) OKS of pairs of a detection and an object (``measure.keypoints.oks``)."""
    assert objects.keypoints is not None
    assert results.keypoints is not None
    return pair_oks(
        results.keypoints.points[found],
        objects.keypoints.points[there],
        objects.boxes_xywh_px[there],
        objects.area_px[there],
        objects.keypoints.sigmas,
    )


def _ious_of_masks(
    masks: Sequence[Mask],
    detections: Integers,
    cells: Integers,
    places: tuple[Integers, Integers, Integers],
    *,
    objects: Objects,
    watch: Callable[[], None],
) -> Floats:
    """(P,) IoU of all pairs, one image and category after the other.

    Args:
        masks: Masks of all detections.
        detections: (D,) positions of those that are evaluated, sorted by their cells.
        cells: (D,) images and categories.
        places: (D,) of the first object of each one's cell in the last, (D,) how many it has, and
            the objects' order by cells.
        objects: The ground truth.
        watch: Called before each image and category.
    """
    first, count, object_order = places
    begins = np.flatnonzero(np.diff(cells, prepend=-1))
    ends = np.append(begins[1:], len(cells))[: len(begins)]  # none without detections
    found = [np.zeros(0)]
    for begin, end in zip(begins, ends, strict=True):
        if count[begin]:
            watch()
            chosen = object_order[first[begin] : first[begin] + count[begin]]
            found.append(_mask_ious([masks[one] for one in detections[begin:end]], chosen, objects))
    return np.concatenate(found)


def _mask_ious(found: Sequence[Mask], there: Integers, objects: Objects) -> Floats:
    """IoU of all masks of one image and category, object by object within a detection."""
    from pycocotools import mask as coco_mask

    masks = objects.masks or ()
    crowd = [int(objects.crowd[one]) for one in there]
    values = coco_mask.iou(list(found), [masks[one] for one in there], crowd)
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _cells(image: Integers, category: Integers) -> Integers:
    """One number for an image and category."""
    return image * (2**31) + category


def _rank_in_runs(sorted_cells: Integers) -> Integers:
    """(n,) how many equal values are before each, of sorted ones."""
    if len(sorted_cells) == 0:
        return np.zeros(0, dtype=np.int64)
    begins = np.flatnonzero(np.diff(sorted_cells, prepend=sorted_cells[0] - 1))
    return np.arange(len(sorted_cells)) - np.repeat(
        begins, np.diff(begins, append=len(sorted_cells))
    )
