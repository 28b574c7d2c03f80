"""Which images have rows: ids that mean something else, images left out, shares, repeats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from harness.core.printable import counted
from harness.diagnosis.attributes import NOTHING
from harness.diagnosis.case import Case
from harness.diagnosis.places import Undo
from harness.measure.columns import Booleans, Integers

#: An image with so many objects has a row wherever a model saw it.
MANY_OBJECTS = 3

#: The least part of the images that is worth a sentence.
LEAST_PART = 0.01

#: A share of one of so many processes is recognised.
MOST_PROCESSES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What can be said of the images of the rows."""

    known: float
    """Part of the rows whose image is listed."""
    silent: Booleans
    """(M,) images with several objects and without a row."""


def seen(case: Case) -> Seen:
    """What can be said of the images of the rows.

    Args:
        case: Any.
    """
    position = case.position
    count = len(case.truth.image_ids)
    has_rows = np.bincount(position[position >= 0], minlength=count) > 0
    known = float((position >= 0).mean()) if len(position) else 1.0
    return Seen(known=known, silent=_with_many(case) & ~has_rows)


def _with_many(case: Case) -> Booleans:
    """(M,) whether an image has objects enough to have a row wherever a model saw it.

    Objects of categories without any row do not count: the model does not look for them.
    """
    objects = case.truth.objects["bbox"]
    count = len(case.truth.image_ids)
    has_rows = categories_with_rows(case)
    wanted = ~objects.crowd & (has_rows[objects.category] if has_rows.any() else True)
    many: Booleans = np.bincount(objects.image[wanted], minlength=count) >= MANY_OBJECTS
    return many


def expected_silent(case: Case) -> float:
    """How many of the images with several objects would have no row if objects lacked rows alike.

    Objects of a category have a row as often as on images that have rows of other categories,
    where the model was certainly run; categories are taken for independent.

    Args:
        case: Its categories are right.
    """
    known = case.truth.class_of(case.rows.category_id)
    there = (known >= 0) & (case.position >= 0)
    shape = len(case.truth.image_ids), len(case.truth.category_ids)
    rows, wanted = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    rows[case.position[there], known[there]] = True
    objects = case.truth.objects["bbox"]
    wanted[objects.image[~objects.crowd], objects.category[~objects.crowd]] = True
    count = rows.sum(axis=1)[:, None]
    looked = wanted & (count > rows)  # of other categories
    looked = np.where(looked.any(axis=0), looked, wanted & (count > 0))
    share = (looked & rows).sum(axis=0) / np.maximum(1, looked.sum(axis=0))
    lacking = np.where(wanted, 1 - share, 1.0).prod(axis=1)
    return float(lacking[_with_many(case)].sum())


def categories_with_rows(case: Case) -> Booleans:
    """(K,) whether any row is of a category.

    Args:
        case: Any.
    """
    known = case.truth.class_of(case.rows.category_id)
    found: Booleans = np.bincount(known[known >= 0], minlength=len(case.truth.category_ids)) > 0
    return found


def without_categories(case: Case) -> str | None:
    """What shows that rows are of few categories; None where most that have objects have rows.

    Args:
        case: Its categories are right.
    """
    objects = case.truth.objects["bbox"]
    count = len(case.truth.category_ids)
    has_objects = np.bincount(objects.category[~objects.crowd], minlength=count) > 0
    there, wanted = int((categories_with_rows(case) & has_objects).sum()), int(has_objects.sum())
    if 2 * there >= wanted:
        return None
    return (
        f"rows are of {there} of the {wanted} categories that have objects; AP is the mean over "
        "all of them, and that of the others is 0"
    )


def image_numbers(case: Case) -> Iterator[Undo]:
    """What image ids may be instead of ids: positions, or numbers of file names.

    Args:
        case: Any.
    """
    truth = case.truth
    numbers = [re.findall(r"\d+", PurePosixPath(name).stem) for name in truth.file_names]
    in_names = np.array([int(one[-1]) % 2**62 if one else -1 for one in numbers], dtype=np.int64)
    by_name = truth.image_ids[np.argsort(np.array(truth.file_names), kind="stable")]
    tried: list[Integers] = [case.rows.image_id]
    for name, details, change in (
        ("image-positions", "from 0, by id", _from(truth.image_ids, 0)),
        ("image-positions", "from 1, by id", _from(truth.image_ids, 1)),
        ("image-positions", "from 0, in the order of the file", _from(truth.listed, 0)),
        ("image-positions", "from 1, in the order of the file", _from(truth.listed, 1)),
        ("image-positions", "from 0, by file name", _from(by_name, 0)),
        ("image-file-numbers", "", lambda ids: _by_number(truth.image_ids, in_names, ids)),
    ):
        meant = change(case.rows.image_id)
        known = (truth.position_of(meant) >= 0).mean() if len(meant) else 0
        if known > 0.5 and not any(np.array_equal(meant, one) for one in tried):
            tried.append(meant)
            yield Undo(
                name=name,
                details=details,
                change=partial(_renumbered, change),
            )


def without_unknown(case: Case) -> Undo | None:
    """Rows of images that are not listed, left out; None where there are none."""
    unknown = case.position < 0
    if not unknown.any():
        return None
    images = len(np.unique(case.rows.image_id[unknown]))
    return Undo(
        name="unknown-images",
        details=f"{counted(int(unknown.sum()), 'row')} of {counted(images, 'image')}",
        change=lambda given: given.taking(given.position >= 0),
    )


def share(case: Case) -> Undo | None:
    """The images of one process, where only they have rows; None where others have some, too."""
    position = case.position
    count = len(case.truth.image_ids)
    covered = np.bincount(position[position >= 0], minlength=count) > 0
    if count < 8 or covered.sum() < 4 or covered.mean() > 0.6:
        return None
    listed = case.truth.position_of(case.truth.listed)
    for order, text in ((np.arange(count), "by id"), (listed, "in the order of the file")):
        there = np.flatnonzero(covered[order])
        for number in range(2, MOST_PROCESSES + 1):
            if count // number < 4:
                break
            rest = np.unique(there % number)
            if len(rest) == 1 and len(there) >= 0.85 * len(range(int(rest[0]), count, number)):
                mine = order[np.arange(int(rest[0]), count, number)]
                return _only("one-share", mine, f"every {number}. image from {rest[0]}, {text}")
        block = int(there[-1] - there[0]) + 1
        if len(there) >= 0.85 * block:
            mine = order[there[0] : there[-1] + 1]
            return _only("one-share", mine, f"{block} of {count} images in a row, {text}")
    return None


def with_rows_only(case: Case, *, cut: bool) -> Undo | None:
    """The images that have rows alone; None where (nearly) all that should have some do.

    Args:
        case: Any.
        cut: Whether rows of low scores are left out: of some images that were all. Those are the
            end of a row of images with few rows, so no more have none than have one.
    """
    silent = seen(case).silent
    least = max(2, LEAST_PART * len(silent))
    if cut:
        position = case.position
        single = np.bincount(position[position >= 0], minlength=len(silent)) == 1
        least = max(least, 1 + int((single & _with_many(case)).sum()))
    if silent.sum() < least or silent.sum() < expected_silent(case):
        return None
    mine = np.flatnonzero(~silent)
    details = f"{counted(int(silent.sum()), 'image')} with {MANY_OBJECTS} objects or more"
    return _only("images-without-rows", mine, details)


def without_repeats(case: Case) -> Undo | None:
    """Rows that are equal in everything, each once; None where too few are there twice."""
    rows = case.rows
    table = np.column_stack([rows.image_id, rows.category_id, rows.boxes, rows.score])
    _, first, counts = np.unique(table, axis=0, return_index=True, return_counts=True)
    again = len(table) - len(first)
    if again == 0:
        return None
    # A few equal rows happen by chance; an image that is there twice has all of them twice.
    repeated = counts > 1
    per_image = np.unique(rows.image_id[first], return_inverse=True)[1]
    whole = np.bincount(per_image, weights=~repeated) == 0
    images = int(whole.sum())
    rows_of_them = int(np.bincount(per_image)[whole].sum())
    if (images < 2 and rows_of_them < 4) or again < 0.0005 * len(table):
        return None

    def change(given: Case) -> Case:
        now = given.rows
        columns = np.column_stack([now.image_id, now.category_id, now.boxes, now.score])
        kept = np.unique(columns, axis=0, return_index=True)[1]
        return given.taking(np.sort(kept))

    details = f"{counted(images, 'image')}, {counted(again, 'row')}"
    return Undo(name="same-image-twice", details=details, change=change)


def _renumbered(change: Callable[[Integers], Integers], case: Case) -> Case:
    return case.with_rows(image_id=change(case.rows.image_id))


def _only(name: str, images: Integers, details: str) -> Undo:
    def change(given: Case) -> Case:
        scored = np.zeros(len(given.truth.image_ids), dtype=bool)
        scored[images] = True
        truth = replace(given.truth, scored=given.truth.scored & scored)
        return replace(given, truth=truth)

    return Undo(name=name, details=details, change=change)


def _from(ids: Integers, first: int) -> Callable[[Integers], Integers]:
    def change(given: Integers) -> Integers:
        index = given - first
        inside = (index >= 0) & (index < len(ids))
        return np.where(inside, ids[np.clip(index, 0, max(len(ids) - 1, 0))], NOTHING)

    return change


def _by_number(ids: Integers, numbers: Integers, given: Integers) -> Integers:
    order = np.argsort(numbers, kind="stable")
    place = np.minimum(np.searchsorted(numbers[order], given), len(numbers) - 1)
    return np.where(numbers[order][place] == given, ids[order][place], NOTHING)
