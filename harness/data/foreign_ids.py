"""What the ids in rows of predictions mean where they are not those of the annotations.

Ultralytics writes the stem of a file name for an image, as a number where it is one
(``models/yolo/detect/val.py``, ``pred_to_json``), and class indices for categories. What has one
meaning only is taken, with a sentence that says so; what may mean two things is an error, unless
its user says what the category ids are: the words are those of the catalogue of ``harness
diagnose``, which finds out which one fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.printable import counted, shown
from harness.core.requests.reports import ClassIds
from harness.data.categories import COCO_CATEGORIES
from harness.data.predictions import LONGEST_NUMBER
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
CLASS_IDS_HINT = (
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


#: How a sentence ends that says which program does so.
AS_ULTRALYTICS = "as Ultralytics does"


@dataclass(frozen=True, slots=True)
class ImageNames:
    """The images of an annotation file by what programs call them."""

    ids: frozenset[int]
    """All ids."""
    by_path: dict[str, int]
    """By the whole file name, folders included."""
    by_name: dict[str, int | None]
    """By the last part of the file name, with its ending and without; None: of several images."""
    by_number: dict[int, int | None]
    """By that part as a number, where it is one; None: of several images."""

    def of(self, name: str) -> int | None:
        """The image with a file name, with its last part or its stem; None where that is unknown
        or of several images.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        image = self.by_path.get(str(path))
        return self.by_name.get(path.name) if image is None else image


def images_by_name(content: Mapping[str, Any]) -> ImageNames:
    """The images of an annotation file by name.

    Args:
        content: As returned by ``data.coco.read_annotations``.
    """
    by_path: dict[str, int] = {}
    by_name: dict[str, int | None] = {}
    by_number: dict[int, int | None] = {}
    for image in content["images"]:
        path, own = PurePosixPath(image["file_name"].replace("\\", "/")), image["id"]
        by_path[str(path)] = own
        for name in {path.name, path.stem}:
            by_name[name] = own if by_name.get(name, own) == own else None
        number = _number(path.stem)
        if number is not None:
            by_number[number] = own if by_number.get(number, own) == own else None
    ids = frozenset(image["id"] for image in content["images"])
    return ImageNames(ids, by_path, by_name, by_number)


def _number(text: str) -> int | None:
    """The number that a text spells in digits; None where it is none, or too long for an id."""
    return int(text) if text.isdecimal() and len(text) < LONGEST_NUMBER else None


@dataclass(frozen=True, slots=True)
class Meant:
    """Rows with ids of the annotations in the place of what another program wrote."""

    rows: list[Any]
    """The rows; what names nothing that is known stays as it is."""
    sentences: tuple[str, ...] = ()
    """What was assumed, one sentence each."""


def with_image_ids(rows: Sequence[Any], content: Mapping[str, Any], *, plain: bool) -> Meant:
    """Rows with image ids in the place of file names, their stems, and numbers in them.

    Args:
        rows: Rows of any kind.
        content: As returned by ``data.coco.read_annotations``.
        plain: Whether numbers that are no ids may be numbers in file names, where no row has a
            name; and whether text that may mean two images is refused.

    Raises:
        IntegrityError: Text may be the id of one image and the file name of another.
    """
    names = images_by_name(content)
    meant = _texts(rows, names, refuse=plain)
    if not meant.sentences:
        meant = _files_beside(rows, names)
    if not meant.sentences and plain:
        meant = _file_numbers(rows, names)
    return meant


def _texts(rows: Sequence[Any], names: ImageNames, *, refuse: bool) -> Meant:
    """Rows whose image is text."""
    texts = {one for one in map(_image_of, rows) if isinstance(one, str)}
    if not texts:
        return Meant(list(rows))
    by_file = {text: image for text in texts if (image := names.of(text)) is not None}
    by_id = {text: number for text in texts if (number := _number(text.strip())) in names.ids}
    unclear = sorted(text for text, own in by_id.items() if by_file.get(text, own) != own)
    # No number has zeros in front of it: who writes them means a file.
    padded = any(text in by_file and text != str(_number(text)) for text in texts)
    if unclear and not padded and refuse:
        text = unclear[0]
        raise IntegrityError(
            f"rows have the image_id as text, such as {shown(text)}, which is the id of one image "
            f"and the file name of another, whose id is {by_file[text]}",
            hint="write ids as numbers; harness diagnose finds out which of the two fits the boxes",
        )
    meant = {**by_id, **by_file} if padded else {**by_file, **by_id}
    changed = [
        {**row, "image_id": meant[row["image_id"]]} if _names_one_of(row, meant) else row
        for row in rows
    ]
    named, numbered = (
        sum(_names_one_of(row, meant) and (row["image_id"] in by_id) is ids for row in rows)
        for ids in (False, True)
    )
    if padded:
        named, numbered = named + numbered, 0
    sentences = []
    if named:
        sentences.append(
            f"{counted(named, 'row names its image', 'rows name their image')} by its file, "
            f"{AS_ULTRALYTICS}"
        )
    if numbered:
        sentences.append(f"{counted(numbered, 'row has', 'rows have')} the image id as text")
    return Meant(changed, tuple(sentences))


def _image_of(row: Any) -> Any:
    # Nearly all rows are of this type, and asking for it takes a tenth of asking for the other.
    return row.get("image_id") if type(row) is dict or isinstance(row, Mapping) else None


def _names_one_of(row: Any, known: Mapping[str, int]) -> bool:
    image = _image_of(row)
    return isinstance(image, str) and image in known


def _files_beside(rows: Sequence[Any], names: ImageNames) -> Meant:
    """Rows that have the name of a file, and the number in it for an image id.

    A data set may give its ids in another order; then the file says which image is meant.
    """
    found = []
    for row in rows:
        file = row.get("file_name") if isinstance(row, Mapping) else None
        if not isinstance(file, str):
            return Meant(list(rows))
        image, number = names.of(file), _number(_stem(file))
        if image is None or number is None or whole(row.get("image_id")) != number:
            return Meant(list(rows))
        found.append(image)
    moved = sum(row["image_id"] != image for row, image in zip(rows, found, strict=True))
    if not moved:
        return Meant(list(rows))
    return Meant(
        [{**row, "image_id": image} for row, image in zip(rows, found, strict=True)],
        (f"images are found by their file_name: the image_id is its number, {AS_ULTRALYTICS}",),
    )


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem


def _file_numbers(rows: Sequence[Any], names: ImageNames) -> Meant:
    """Rows whose image ids are not listed, while every one is the number of one file."""
    numbers = {whole(_image_of(row)) for row in rows}
    found = {one: names.by_number.get(one) for one in numbers if one is not None}
    if numbers <= names.ids or None in numbers or None in found.values():
        return Meant(list(rows))
    return Meant(
        [{**row, "image_id": found[int(row["image_id"])]} for row in rows],
        (
            "image ids are not those of the annotations: they are the numbers of the files, "
            f"{AS_ULTRALYTICS}",
        ),
    )


def with_category_ids(rows: Sequence[Any], content: Mapping[str, Any], *, plain: bool) -> Meant:
    """Rows with category ids in the place of class indices, where that is certain.

    The first class is counted as 0 where a row has it, as 1 where a row has the number of
    categories, which then is the last one.

    Args:
        rows: COCO results.
        content: As returned by ``data.coco.read_annotations``.
        plain: Whether nothing else in the rows says that Ultralytics wrote them. Category ids that
            are one too low or too high are then as likely, and what may be either stays as it is.
    """
    ids = sorted(category["id"] for category in content["categories"])
    given = {
        whole(row["category_id"])
        for row in rows
        if (type(row) is dict or isinstance(row, Mapping)) and "category_id" in row
    }
    first = _first_class(given, ids)
    if first is None:
        return Meant(list(rows))
    meant = {first + place: own for place, own in enumerate(ids)}
    if plain and any(_shifted_otherwise(given, ids, shift, meant) for shift in (-1, 1)):
        return Meant(list(rows))
    return Meant(
        [{**row, "category_id": meant[int(row["category_id"])]} for row in rows],
        (f"categories are class indices, from {first} in the order of their ids",),
    )


def with_said_ids(rows: Sequence[Any], table: ClassTable) -> Meant:
    """Rows with category ids in the place of what the user says they have.

    Args:
        rows: COCO results.
        table: What is meant by what they have.

    Raises:
        IntegrityError: A row has what means nothing.
    """
    changed = [
        {**row, "category_id": table.of(row["category_id"])}
        if isinstance(row, Mapping) and "category_id" in row
        else row
        for row in rows
    ]
    return Meant(changed, (f"{table.phrase}, {AS_ASKED}",))


def _shifted_otherwise(
    given: set[int | None], ids: Sequence[int], shift: int, meant: Mapping[int, int]
) -> bool:
    """Whether all may as well be ids that are moved by ``shift``, and would mean other ids."""
    shifted = {own + shift: own for own in ids}
    return given <= shifted.keys() and any(
        one is not None and shifted[one] != meant[one] for one in given
    )


def _first_class(given: set[int | None], ids: Sequence[int]) -> int | None:
    """What class indices count the first class as; None where they need not be indices."""
    if not given or given <= set(ids):
        return None
    first = 0 if 0 in given else 1
    certain = 0 in given or len(ids) in given
    return first if certain and given <= set(range(first, first + len(ids))) else None
