"""What the category ids of a file of predictions are, as its user says.

The words are those of the catalogue of ``harness diagnose``, which finds out which one fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.printable import shown
from harness.core.requests.reports import ClassIds
from harness.data.categories import COCO_CATEGORIES
from harness.data.shapes import whole

#: What each word takes for granted, as a phrase.
PHRASES: Mapping[ClassIds, str] = {
    "ids": "categories are category ids",
    "index-from-0": "categories are class indices, from 0 in the order of the category ids",
    "index-from-1": "categories are class indices, from 1 in the order of the category ids",
    "file-order": "categories are class indices, from 0 in the order of the annotation file",
    "id-plus-1": "categories are category ids that are one too high",
    "id-minus-1": "categories are category ids that are one too low",
    "coco-ids": "categories are COCO's ids, 1 to 90 with gaps, of the category ids in their order",
}

#: How a sentence ends that says who said so.
AS_ASKED = "as --class-ids says"

#: Words for positions in a list.
INDICES = ("index-from-0", "index-from-1", "file-order")

#: What to do where ids are none of the annotations.
HINT = (
    "where they are class indices, say so with --class-ids index-from-0 (or another of its words); "
    "harness diagnose finds out which one the boxes fit"
)


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The category id that is meant by what a file has in its place."""

    kind: ClassIds
    """The word for it."""
    meant: Mapping[int, int]
    """By what the file has."""

    @property
    def phrase(self) -> str:
        """What it takes for granted."""
        return PHRASES[self.kind]

    def of(self, given: Any) -> int:
        """The category id that is meant.

        Args:
            given: What a prediction has.

        Raises:
            IntegrityError: Nothing is meant by it.
        """
        number = whole(given)
        if number is None or number not in self.meant:
            called = "class index" if self.kind in INDICES else "category id"
            raise IntegrityError(
                f"a prediction has the {called} {shown(given)}; there are {len(self.meant)} "
                f"categories, from {min(self.meant, default=0)} to {max(self.meant, default=0)}",
            )
        return self.meant[number]


def class_table(kind: ClassIds, content: Mapping[str, Any]) -> ClassTable:
    """The category id by what stands for it in a file.

    Args:
        kind: What it is; not ``auto``, which is nothing in particular.
        content: As returned by ``data.coco.read_annotations``.
    """
    listed = [category["id"] for category in content["categories"]]
    ids = sorted(listed)
    keys: Mapping[ClassIds, Sequence[int]] = {
        "ids": ids,
        "index-from-0": range(len(ids)),
        "index-from-1": range(1, len(ids) + 1),
        "file-order": range(len(ids)),
        "id-plus-1": [one + 1 for one in ids],
        "id-minus-1": [one - 1 for one in ids],
        "coco-ids": [one.category_id for one in COCO_CATEGORIES],
    }
    meant = listed if kind == "file-order" else ids
    return ClassTable(kind, dict(zip(keys[kind], meant, strict=False)))
