"""Parts of predictions that hypotheses are tried on: some images, and the best rows of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.diagnosis.case import Case, enclosing
from harness.measure.columns import Booleans


def sample_of(case: Case, *, most: int, among: Booleans | None = None) -> Booleans:
    """(M,) images to try hypotheses on, at random, always the same; first those with rows.

    Args:
        case: Any.
        most: How many at most.
        among: (M,) those to choose from; None for all.
    """
    count = len(case.truth.image_ids)
    position = case.position
    has_rows = np.bincount(position[position >= 0], minlength=count) > 0
    objects = np.bincount(case.truth.objects["bbox"].image, minlength=count) > 0
    order = np.random.default_rng(0).permutation(count)
    prefer = (has_rows & objects).astype(int) * 2 + objects
    order = order[np.argsort(-prefer[order], kind="stable")]
    if among is not None:
        order = order[among[order]]
    chosen = np.zeros(count, dtype=bool)
    chosen[order[:most]] = True
    return chosen


def limited(case: Case, images: Booleans) -> Case:
    """The same without the rows of known images that are not looked at.

    Args:
        case: Its image ids are right.
        images: (M,) those to look at.
    """
    if images.all():
        return case
    position = case.position
    return case.taking((position < 0) | images[np.maximum(position, 0)])


def of_images(case: Case, images: Booleans) -> Case:
    """The rows of some images.

    Args:
        case: Its image ids are right.
        images: (M,) those.
    """
    position = case.position
    return case.taking((position >= 0) & images[np.maximum(position, 0)])


def best_of_each(case: Case, most: int) -> Case:
    """The case with the best predictions of each image alone.

    Args:
        case: Any.
        most: How many of each image at most.
    """
    rows = case.rows
    order = np.lexsort((-rows.score, rows.image_id))
    image = rows.image_id[order]
    begins = np.flatnonzero(np.diff(image, prepend=image[:1] - 1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    return case.taking(np.sort(order[rank < most]))


def masks_as_boxes(case: Case) -> Case:
    """A case whose rows have masks alone with the boxes around them, in the frames of the images.

    Args:
        case: Any.
    """
    rows = case.rows
    if rows.has_boxes or rows.masks is None:
        return case
    boxes = enclosing(rows.masks)
    sizes = np.array([one["size"] for one in rows.masks], dtype=np.float64).reshape(-1, 2)
    factor = case.sizes_px / np.maximum(sizes, 1)
    return replace(case, rows=replace(rows, boxes=boxes * factor[:, [1, 0, 1, 0]]))
