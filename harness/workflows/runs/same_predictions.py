"""Which images two files predict the same for, as far as files of two programs can say.

A program that writes corners, or three decimals, has rounded what another one wrote as sizes: such
rows are the same. Predictions of two run folders are compared to the last digit instead
(``workflows.comparison.runs``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

#: What rounding may move: a size has the rounding of two corners, in px; a score that of 4 digits.
BOX_PX, SCORE = 0.0201, 1e-4

#: So many rows of a category in one image are compared with each other; more are paired in order.
FEW = 32


def differing_images(first: Sequence[Row], second: Sequence[Row]) -> dict[int, int]:
    """Image id → predictions without an equal in the other file; only images that have some.

    Masks and keypoints are compared where both files have them, and boxes likewise.

    Args:
        first: Valid predictions, all with the same of box, mask and keypoints.
        second: Others of the same images.
    """
    kinds = [set(rows[0]) if rows else set() for rows in (first, second)]
    common = kinds[0] & kinds[1] if all(kinds) else kinds[0] | kinds[1]
    sides = [_by_image(rows, common) for rows in (first, second)]
    counts = {
        image: _unlike(sides[0].get(image, {}), sides[1].get(image, {}))
        for image in sides[0].keys() | sides[1].keys()
    }
    return {image: count for image, count in counts.items() if count}


Groups = dict[Hashable, list[tuple[float, ...]]]


def _by_image(rows: Sequence[Row], common: set[str]) -> dict[int, Groups]:
    """By image, then by what is written alike by all: category and mask; numbers of each row."""
    images: dict[int, Groups] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        mask = row["segmentation"] if "segmentation" in common else None
        key = row["category_id"], None if mask is None else (*mask["size"], mask["counts"])
        numbers = (*row["bbox"],) if "bbox" in common else ()
        if "keypoints" in common:
            numbers += (*row["keypoints"],)
        images[row["image_id"]][key].append((*numbers, row["score"]))
    return images


def _unlike(first: Groups, second: Groups) -> int:
    """The rows of an image that have no equal, on the side that has more of them."""
    alone = [0, 0]
    for key in first.keys() | second.keys():
        own, theirs = first.get(key, []), second.get(key, [])
        same = _pairs(sorted(own), sorted(theirs))
        alone[0] += len(own) - same
        alone[1] += len(theirs) - same
    return max(alone)


def _pairs(own: list[tuple[float, ...]], theirs: list[tuple[float, ...]]) -> int:
    """How many rows of one list have an equal of their own in the other."""
    if own == theirs:
        return len(own)
    if max(len(own), len(theirs)) > FEW:
        return sum(map(_same, own, theirs))
    left = list(theirs)
    for row in own:
        found = next((number for number, one in enumerate(left) if _same(row, one)), None)
        if found is not None:
            del left[found]
    return len(theirs) - len(left)


def _same(row: tuple[float, ...], other: tuple[float, ...]) -> bool:
    if len(row) != len(other) or abs(row[-1] - other[-1]) > SCORE:
        return False
    return all(abs(one - two) <= BOX_PX for one, two in zip(row[:-1], other[:-1], strict=True))
