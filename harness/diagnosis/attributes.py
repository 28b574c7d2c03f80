"""What rows say besides places: category ids that mean something else, scores, crowds.

Class indices, and classes in another order; scores that were cut, are in percent, or all the same;
crowds of an annotation file that are no longer marked as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from harness.core.printable import counted
from harness.data.categories import COCO_CATEGORIES
from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo
from harness.diagnosis.scoring import matched_categories, met_objects
from harness.measure.columns import Booleans, Integers

#: COCO's ids of its 80 categories: 1 to 90 but for ten that were dropped.
COCO_IDS = np.array([one.category_id for one in COCO_CATEGORIES])

#: A category is in another place where so many of its boxes, and so large a part, say so.
LEAST_MATCHES = 3
LEAST_PART = 0.4

#: What an id that means nothing becomes: no category has it.
NOTHING = np.iinfo(np.int64).min


def orders(case: Case) -> Iterator[Undo]:
    """What category ids may be instead, as far as there are any that differ.

    Args:
        case: Any.
    """
    ids = case.truth.category_ids
    names = np.array([name.casefold() for name in case.truth.category_names])
    sorted_ids = ids[np.argsort(names, kind="stable")]
    seen: list[Integers] = [case.rows.category_id]
    for name, details, change in (
        ("index-from-0", "", lambda given: _chosen(ids, given)),
        ("index-from-1", "", lambda given: _chosen(ids, given - 1)),
        ("id-plus-1", "", lambda given: given - 1),
        ("id-minus-1", "", lambda given: given + 1),
        ("coco-ids", "", lambda given: _chosen(ids, _place(COCO_IDS, given))),
        ("alphabetical", "counted from 0", lambda given: _chosen(sorted_ids, given)),
        ("alphabetical", "counted from 1", lambda given: _chosen(sorted_ids, given - 1)),
        ("alphabetical", "with COCO's ids", lambda given: _chosen(sorted_ids, _place(ids, given))),
    ):
        meant = change(case.rows.category_id)
        if len(ids) and not any(np.array_equal(meant, one) for one in seen):
            seen.append(meant)
            yield Undo(name=name, details=details, change=_categories(change))


def learned_order(case: Case, images: Booleans) -> Undo | None:
    """The order that the places of the boxes speak for; None where it is the given one.

    Args:
        case: Its boxes are in the frames of their images.
        images: (M,) those to look at.
    """
    pairs = matched_categories(case, images)
    if len(pairs) == 0:
        return None
    given, place = np.unique(pairs[:, 0], return_inverse=True)
    counts = np.zeros((len(given), len(case.truth.category_ids)), dtype=np.int64)
    np.add.at(counts, (place, pairs[:, 1]), 1)
    meant: dict[int, int] = {}
    # The surest first; each class is one id.
    for cell in np.argsort(-counts, axis=None, kind="stable"):
        row, column = divmod(int(cell), counts.shape[1])
        value, found = int(given[row]), int(case.truth.category_ids[column])
        if counts[row, column] < max(LEAST_MATCHES, LEAST_PART * counts[row].sum()):
            continue
        if value not in meant and found not in meant.values():
            meant[value] = found
    changed = [value for value, other in meant.items() if value != other]
    if len(changed) < 2:
        return None
    table = np.array(sorted(meant.items()))

    def change(ids: Integers) -> Integers:
        position = _place(table[:, 0], ids)
        return np.where(position >= 0, table[np.maximum(position, 0), 1], ids)

    details = f"{len(changed)} of {len(given)} categories"
    return Undo(name="other-order", details=details, change=_categories(change))


def _categories(change: Callable[[Integers], Integers]) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        return case.with_rows(category_id=change(case.rows.category_id))

    return apply


def _chosen(ids: Integers, index: Integers) -> Integers:
    """``ids`` by index; what is no index stays unknown."""
    inside = (index >= 0) & (index < len(ids))
    return np.where(inside, ids[np.clip(index, 0, len(ids) - 1)], NOTHING)


def _place(ids: Integers, wanted: Integers) -> Integers:
    """Positions in sorted ids; −1 for what is not among them."""
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[place] == wanted, place, -1)


#: Rows below which nothing is said of how scores are spread.
LEAST_ROWS = 50

#: Published numbers are of rows above this; a cut there is the recipe of Detectron2.
USUAL_CUT = 0.05

#: Scores that rows are often cut at.
CUTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9)

#: Different scores near a cut.
LEAST_VALUES = 4

#: Rows just above a score that show that the lower ones are missing: the lowest of some dozens are
#: near some round number in any case.
LEAST_NEAR = 6

#: Rows of an image that published numbers count.
MOST_ROWS = 100


def equal(case: Case) -> str | None:
    """What shows that there is one score alone; None where there are several."""
    values = np.unique(case.rows.score)
    if len(case.rows) < 20 or len(values) != 1:
        return None
    return f"all {len(case.rows)} scores are {values[0]:g}"


def in_percent(case: Case) -> Undo | None:
    """Scores divided by 100; None where they do not reach above 1."""
    score = case.rows.score
    if len(score) == 0 or len(np.unique(score)) < 2:
        return None
    if not (1.5 < score.max() <= 100.5 and score.min() >= 0):
        return None
    return Undo(
        name="scores-in-percent",
        details=f"they reach {score.max():g}",
        change=lambda given: given.with_rows(score=given.rows.score / 100),
    )


def inverted(case: Case) -> Undo:
    """The order of scores turned round, in the range that they are in.

    Args:
        case: It has rows.
    """
    ends = float(case.rows.score.min()) + float(case.rows.score.max())
    return Undo(
        name="scores-inverted",
        details="",
        change=lambda given: given.with_rows(score=ends - given.rows.score),
    )


def cut(case: Case) -> tuple[float, int] | None:
    """The score that rows were cut at, and how many are just above it; None where none is seen.

    Args:
        case: Its scores are from 0 to 1.
    """
    score = case.rows.score
    if len(score) < LEAST_ROWS or len(np.unique(score)) < 10:
        return None
    least = float(score.min())
    known = [one for one in CUTS if one - 1e-6 <= least < one + 0.02]
    at = max(known, default=None)
    if at is None:
        return None
    near = int((score < at + 0.05).sum())
    # Where nothing was cut the fewest rows are at the end; where something was, many are.
    above = int(((score >= at + 0.05) & (score < at + 0.1)).sum())
    if near < max(LEAST_NEAR, 0.01 * len(score)) or near < 0.5 * above:
        return None
    # Scores that are rounded to tenths, say, are all at the least one.
    if len(np.unique(score[score < at + 0.05])) < min(LEAST_VALUES, near):
        return None
    return at, near


def best_hundred(case: Case) -> Undo | None:
    """The best 100 rows of each image; None where none has more."""
    counts = np.unique(case.rows.image_id, return_counts=True)[1]
    many = counts > MOST_ROWS
    if not many.any():
        return None

    def change(given: Case) -> Case:
        rows = given.rows
        number = np.unique(rows.image_id, return_inverse=True)[1]
        order = np.lexsort((-rows.score, number))
        begins = np.flatnonzero(np.diff(number[order], prepend=-1))
        lengths = np.diff(begins, append=len(order))
        rank = np.arange(len(order)) - np.repeat(begins, lengths)
        return given.taking(np.sort(order[rank < MOST_ROWS]))

    details = f"{counted(int(many.sum()), 'image')}, up to {int(counts.max())}"
    return Undo(name="more-than-100", details=details, change=change)


#: Crowds are few: 1.2 % of COCO's objects. Hardly a box is around a whole one: of other objects
#: at least this many times the part is met.
MOST_CROWDS = 0.2
MET_LESS = 2.0


def with_run_lengths(case: Case) -> Booleans:
    """(M,) images with an object whose mask is run lengths.

    Args:
        case: Any.
    """
    image = case.truth.objects["bbox"].image[case.truth.run_lengths["bbox"]]
    found: Booleans = np.bincount(image, minlength=len(case.truth.image_ids)) > 0
    return found


def marked(case: Case, images: Booleans) -> Undo | None:
    """Objects whose masks are run lengths among polygons as crowds; None where some are marked, or
    where boxes meet them as they meet others.

    Args:
        case: Boxes in the frame of their images; categories are right.
        images: (M,) those to look at.
    """
    runs = case.truth.run_lengths["bbox"]
    objects = case.truth.objects["bbox"]
    if objects.crowd.any() or not 0 < runs.mean() <= MOST_CROWDS:
        return None
    met, looked_at = met_objects(case, images), images[objects.image]
    mine, others = met[looked_at & runs], met[looked_at & ~runs]
    if not (len(mine) and len(others) and MET_LESS * mine.mean() < others.mean()):
        return None

    def change(given: Case) -> Case:
        truth = given.truth
        changed = {
            task: replace(one, crowd=one.crowd | truth.run_lengths[task])
            for task, one in truth.objects.items()
        }
        return replace(given, truth=replace(truth, objects=changed))

    details = counted(int(runs.sum()), "object")
    return Undo(name="crowd-as-object", details=details, change=change)
