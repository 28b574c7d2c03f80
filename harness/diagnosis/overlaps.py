"""How predictions of one image overlap each other, and what suppression would leave of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.core.printable import counted
from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo
from harness.diagnosis.scoring import met_objects
from harness.measure.columns import Booleans, Floats, Integers
from harness.measure.greedy import box_ious

#: The best of each image that are compared with each other.
COMPARED = 100

#: The best of each image that suppression looks at.
SUPPRESSED = 1000

#: The overlap of a suppression by the field's custom, and one that only duplicates have.
USUAL_NMS = 0.5
SAME_PLACE = 0.8

#: Part of the rows with a better one in their place that shows that nothing was suppressed.
LEAST_DUPLICATES = 0.15

#: Pairs that are computed at once: those of millions of rows have no room together.
BLOCK_PAIRS = 2_000_000

#: Pairs within 0.15 of the greatest overlap, and within 0.05, that show a limit: where there is
#: none, pairs become rare towards the greatest. Above the limits in use, where few boxes overlap in
#: any case, it takes twice as many within 0.05. Of 150 seeded samples of 10 to 60 images without a
#: limit, 17 have the first number, and one has both.
LEAST_NEAR = 10
LEAST_CLOSEST = 4
USUAL_LIMITS = 0.605

#: Suppression across categories has one limit for all pairs: where those of one category end within
#: 0.02 of those of different ones, half as many of the closest show it. Of 3,480 samples of 10 to
#: 160 images, 3,000 of them suppressed within categories at 0.3 to 0.7, as many are claimed to have
#: a limit across categories with this rule as without it: one.
SAME_END = 0.02

#: Pairs of boxes of a category that show where their overlaps end, or pairs that detected objects
#: are expected to have beyond it.
SHOWING_PAIRS = 40
LEAST_EXPECTED = 2.0

#: Pairs that must exist before anything is said of where they end.
LEAST_PAIRS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """Pairs of predictions of one image that overlap."""

    better: Integers
    """(P,) position of the one that scores more."""
    worse: Integers
    """(P,) position of the other."""
    iou: Floats
    """(P,)."""
    same: Booleans
    """(P,) whether both have one category."""


def overlaps_of(
    case: Case, images: Booleans, *, least: float, most: int = COMPARED, same_only: bool = False
) -> Overlaps:
    """Pairs among the best predictions of each image.

    Args:
        case: Its boxes are in the frames of their images.
        images: (M,) those to look at.
        least: The least IoU of a pair.
        most: How many of each image are compared.
        same_only: Whether pairs of different categories are left out.
    """
    position = case.position
    looked_at = (position >= 0) & images[np.maximum(position, 0)]
    rows = np.flatnonzero(looked_at)
    order = rows[np.lexsort((-case.rows.score[rows], position[rows]))]
    rank = _rank(position[order])
    order, rank = order[rank < most], rank[rank < most]
    category = case.rows.category_id
    if same_only:  # the rows of an image by category, in each the best one first
        order = order[np.lexsort((rank, category[order], position[order]))]
        rank = _rank(position[order], category[order])
    found = list(_near(case.rows.boxes[order], rank, least))
    better, worse, iou = (np.concatenate(one) for one in zip(*found, strict=True))
    better, worse = order[better], order[worse]
    return Overlaps(better=better, worse=worse, iou=iou, same=category[worse] == category[better])


def _rank(*groups: Integers) -> Integers:
    """(N,) how many rows of its group are before each; those of a group are one after the other.

    Args:
        groups: (N,) each; rows with the same numbers are a group.
    """
    begins = np.zeros(len(groups[0]), dtype=bool)
    begins[:1] = True
    for one in groups:
        begins[1:] |= one[1:] != one[:-1]
    starts = np.flatnonzero(begins)
    return np.arange(len(begins)) - np.repeat(starts, np.diff(starts, append=len(begins)))


def _near(
    boxes: Floats, rank: Integers, least: float
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Positions of a better and a worse box, and their IoU, for some of the boxes after the other.

    Args:
        boxes: (N, 4), those of a group one after the other.
        rank: (N,) how many of its group are before each.
        least: The least IoU of a pair.
    """
    blocks = np.cumsum(rank) // BLOCK_PAIRS
    limits = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(rank)]
    for begin, end in pairwise(limits):
        before = rank[begin:end]
        worse = np.repeat(np.arange(begin, end), before)
        inner = np.arange(len(worse)) - np.repeat(np.cumsum(before) - before, before)
        better = worse - np.repeat(before, before) + inner
        iou = box_ious(boxes[worse], boxes[better], np.zeros(len(worse), dtype=bool))
        near = iou >= least
        yield better[near], worse[near], iou[near]


def suppressed(case: Case, threshold: float) -> Booleans:
    """(N,) what non-maximum suppression of each category keeps.

    Args:
        case: Its boxes are in the frames of their images.
        threshold: Overlaps above it are suppressed.
    """
    everything = np.ones(len(case.truth.image_ids), dtype=bool)
    pairs = overlaps_of(case, everything, least=threshold, most=SUPPRESSED, same_only=True)
    chosen = pairs.iou > threshold
    better, worse = pairs.better[chosen], pairs.worse[chosen]
    kept = np.ones(len(case.rows), dtype=bool)
    # Pairs are in the order of the worse one's rank, image by image: what is better is decided.
    order = np.argsort(-case.rows.score[worse], kind="stable")
    for one, other in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if kept[one]:
            kept[other] = False
    return kept


def nms_missing(case: Case, images: Booleans) -> Undo | None:
    """Duplicates suppressed; None where there are few.

    Args:
        case: Its boxes are in the frames of their images.
        images: (M,) those to look at.
    """
    pairs = overlaps_of(case, images, least=SAME_PLACE)
    doubled = len(np.unique(pairs.worse[pairs.same]))
    position = case.position
    count = int(((position >= 0) & images[np.maximum(position, 0)]).sum())
    if count == 0 or doubled < LEAST_DUPLICATES * count:
        return None
    return Undo(
        name="nms-missing",
        details=f"{100 * doubled / count:.0f} % of the rows have a better one in their place",
        change=lambda given: given.taking(suppressed(given, USUAL_NMS)),
    )


def nms_too_hard(case: Case, images: Booleans) -> str | None:
    """What shows that suppression left hardly any overlap; None where it did not.

    Args:
        case: Its boxes are in the frames of their images.
        images: (M,) those to look at.
    """
    pairs = overlaps_of(case, images, least=0.02)
    most = float(np.percentile(pairs.iou[pairs.same], 99.5)) if pairs.same.any() else 0.0
    count = len(np.unique(case.rows.image_id))
    objects = case.truth.objects["bbox"]
    there = _object_overlaps(case, images)
    expected = int(((there > most + 0.02) & (there <= USUAL_NMS)).sum())
    if most >= 0.4 or expected < 5 or count < 20 or len(objects.image) == 0:
        return None
    others = int((~pairs.same & (pairs.iou > most + 0.02)).sum())
    if pairs.same.sum() < LEAST_PAIRS and others < LEAST_PAIRS:
        return None
    # Both objects of a pair have to be detected, or their boxes cannot overlap.
    recall = float(met_objects(case, images)[images[objects.image]].mean())
    likely = expected * recall**2
    if pairs.same.sum() < SHOWING_PAIRS and likely < LEAST_EXPECTED:
        return None
    return (
        f"boxes of a category overlap up to {most:.2f}; {counted(expected, 'pair')} of objects "
        "overlap more"
    )


def nms_across_classes(case: Case, images: Booleans) -> str | None:
    """What shows that suppression did not look at categories; None where it did.

    Args:
        case: Its boxes are in the frames of their images.
        images: (M,) those to look at.
    """
    pairs = overlaps_of(case, images, least=0.05)
    across = pairs.iou[~pairs.same]
    if len(across) < LEAST_PAIRS:
        return None
    most = float(across.max())
    near = int((across > most - 0.15).sum())
    if most > 0.85 or near < max(LEAST_NEAR, 0.02 * len(across)):
        return None
    within = float(pairs.iou[pairs.same].max(initial=0.0))
    if within > most + 0.05:
        return None
    closest = int((across > most - 0.05).sum())
    enough = LEAST_CLOSEST if most <= USUAL_LIMITS else 2 * LEAST_CLOSEST
    if closest < (LEAST_CLOSEST // 2 if abs(within - most) <= SAME_END else enough):
        return None
    return f"boxes of different categories overlap up to {most:.2f}, and never more"


def _object_overlaps(case: Case, images: Booleans) -> Floats:
    """IoU of objects of one category on one image."""
    objects = case.truth.objects["bbox"]
    chosen = np.flatnonzero(images[objects.image] & ~objects.crowd)
    cells = objects.image[chosen] * 2**31 + objects.category[chosen]
    order = chosen[np.argsort(cells, kind="stable")]
    cells = np.sort(cells, kind="stable")
    found = []
    for step in range(1, 20):
        same = cells[step:] == cells[:-step]
        if not same.any():
            break
        first, second = order[:-step][same], order[step:][same]
        found.append(
            box_ious(
                objects.boxes_xywh_px[first],
                objects.boxes_xywh_px[second],
                np.zeros(len(first), dtype=bool),
            )
        )
    return np.concatenate(found) if found else np.zeros(0)
