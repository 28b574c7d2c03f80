"""Category ids that mean something else: class indices, and classes in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo
from harness.diagnosis.scoring import matched_categories
from harness.measure.columns import Booleans, Integers

#: COCO's ids of its 80 categories: 1 to 90 but for ten that were dropped.
DROPPED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = np.array([one for one in range(1, 91) if one not in DROPPED_COCO_IDS])

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
