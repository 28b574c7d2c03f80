"""Predictions in COCO's results format: parsed, validated, and in one canonical form.

The counterpart of ``data.coco``, with the same policy: what pycocotools accepts and has only one
meaning is accepted and put into its usual form; everything else is an error that names the row and
what the file looks like. Masks that pass are safe for code in C.

Read loosely, ids and boxes need not fit any annotations: what is refused otherwise, such as a
category that is not listed, may be the very fault that is looked for. What stays is what keeps code
in C safe and numbers finite.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.printable import shown
from harness.core.tasks import TASKS, scorable_tasks
from harness.data.coco import FARTHEST_BOX_PX, box_fault
from harness.data.not_coco import foreign_predictions
from harness.data.shapes import NUMBERS, KeypointRows, Masks, finite, whole
from harness.files.json import read
from harness.measure.keypoints import keypoint_count
from harness.measure.masks import size_fault

Row = dict[str, Any]

#: Without these a row is not a prediction.
REQUIRED_KEYS = ("image_id", "category_id", "score")

#: Characters of a number that may be an id; Python refuses to read a longer one at some length.
LONGEST_NUMBER = 20

#: What files that are not JSON begin with, and what they are.
BEGINNINGS = (
    (b"PK\x03\x04", "a file of torch, or another zip: Detectron2's coco_instances_results.json is"),
    (b"\x80", "a pickle; JSON is"),
    (b"\x93NUMPY", "an array of NumPy; JSON is"),
    (b"\x1f\x8b", "compressed with gzip; unpacked it is"),
)


def read_predictions(path: Path, content: Mapping[str, Any] | None) -> list[Row]:
    """The rows of a file of COCO results for the images and categories of ``content``.

    Args:
        path: The file.
        content: As returned by ``data.coco.read_annotations``; None where ids may be any, and masks
            are neither checked nor used.

    Returns:
        Rows as in ``checked_predictions``.

    Raises:
        UsageError: When the file is absent.
        IntegrityError: For what is no such file, and for the first row that is not valid.
    """
    return predictions_in(parsed(path), path, content)


def parsed(path: Path, *, watch: Callable[[], None] | None = None) -> Any:
    """The content of a JSON file.

    Args:
        path: The file.
        watch: Called at every object; what it raises ends the reading.

    Raises:
        UsageError: It is absent.
        IntegrityError: It is not JSON; says what it looks like.
    """

    def watched(value: dict[str, Any]) -> dict[str, Any]:
        watch()  # type: ignore[misc]  # only used where there is one
        return value

    try:
        return read(path, convert=None if watch is None else watched)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=_hint(path) or error.hint) from error


def predictions_in(rows: Any, path: Path, content: Mapping[str, Any] | None) -> list[Row]:
    """The same for a file that was parsed already.

    Args:
        rows: What it holds.
        path: The file, for errors.
        content: As in ``read_predictions``.

    Raises:
        IntegrityError: As ``read_predictions``.
    """
    foreign = foreign_predictions(rows)
    if foreign is not None:
        raise IntegrityError(f"{path} is {foreign.what}", hint=foreign.hint)
    if not isinstance(rows, list):
        raise IntegrityError(
            f"{path} holds {type(rows).__name__}; COCO results are a list of predictions",
            hint="ground truth goes to --annotations",
        )
    if content is None:
        for position, row in enumerate(rows):
            fault = _lacking(row) or _id_fault(row)
            if fault is not None:
                raise IntegrityError(f"{path}: prediction {position} {fault}")
        return rows
    return checked_predictions(rows, content, where=str(path))


def _hint(path: Path) -> str | None:
    """What a file that is not JSON looks like; None where that is not recognized."""
    with path.open("rb") as file:
        head = file.read(4096)
    for beginning, what in BEGINNINGS:
        if head.startswith(beginning):
            return f"it looks like {what} what can be read"
    first, _, rest = head.partition(b"\n")
    if first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{"):
        return "it looks like JSON Lines: put the lines between [ and ], with commas after each"
    return None


def checked_predictions(
    rows: Sequence[Any], content: Mapping[str, Any], *, where: str, first: int = 0
) -> list[Row]:
    """The rows, valid for ``content`` and canonical; they are changed where they were not.

    Ids are integers, masks spelled as pycocotools spells them, and no row has a key
    ``segmentation`` or ``bbox`` without a value. Every row has a box, or every row a mask.

    Args:
        rows: Parsed from JSON.
        content: As returned by ``data.coco.read_annotations``.
        where: What errors call the file.
        first: Position of the first of the rows in the file.

    Raises:
        IntegrityError: For the first row that is not valid.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    masks = Masks()
    keypoints = KeypointRows(labelled=False, count=keypoint_count(content) or None)
    ordinary = _are_ordinary(rows, sizes, categories)
    unread = rows
    if ordinary and masks.taken(rows, sizes, first=first):
        unread = ()
    for position, row in enumerate(unread, start=first):
        fault = None
        if not (ordinary or _is_ordinary(row, sizes, categories)):
            fault = _lacking(row) or _fault(row, sizes, categories) or keypoints.fault(row)
        if fault is None and "segmentation" in row:
            fault = _mask_fault(row) or masks.fault(position, row, *sizes[row["image_id"]])
        if fault is not None:
            hint = _ids_hint(row, content) if isinstance(row, dict) else None
            raise IntegrityError(f"{where}: prediction {position} {fault}", hint=hint)
    text_fault = masks.text_fault()
    if text_fault is not None:
        raise IntegrityError(f"{where}: prediction {text_fault[0]} {text_fault[1]}")
    _require_alike(rows, where)
    return list(rows)


def _is_ordinary(row: Any, sizes: Mapping[int, tuple[int, int]], categories: set[int]) -> bool:
    """Whether a row is as nearly all are: a box, perhaps a mask that was not looked at, and nothing
    to correct.
    """
    if not isinstance(row, dict) or row.keys() - {"segmentation"} != PLAIN_KEYS:
        return False
    image, category, score = row["image_id"], row["category_id"], row["score"]
    return (
        type(image) is type(category) is int
        and image in sizes
        and category in categories
        and type(score) is float
        and math.isfinite(score)
        and row.get("segmentation", ()) is not None
        and box_fault(row["bbox"]) is None
    )


def _are_ordinary(
    rows: Sequence[Any], sizes: Mapping[int, tuple[int, int]], categories: set[int]
) -> bool:
    """Whether ``_is_ordinary`` is true of every row, by one look at each column."""
    if set(map(type, rows)) != {dict}:
        return False
    orders = set(map(tuple, rows))  # of the keys: rows of one program have one
    if any(set(keys) - {"segmentation"} != PLAIN_KEYS for keys in orders):
        return False
    for key, known in (("image_id", sizes.keys()), ("category_id", categories)):
        ids = [row[key] for row in rows]
        if set(map(type, ids)) != {int} or not known >= set(ids):
            return False
    scores = [row["score"] for row in rows]
    boxes = [row["bbox"] for row in rows]
    if set(map(type, scores)) != {float} or not all(map(math.isfinite, scores)):
        return False
    if set(map(type, boxes)) != {list} or set(map(len, boxes)) != {4}:
        return False
    numbers = list(chain.from_iterable(boxes))
    if not NUMBERS.issuperset(map(type, numbers)):
        return False
    if numbers and not -FARTHEST_BOX_PX <= min(numbers) <= max(numbers) <= FARTHEST_BOX_PX:
        return False
    # What is not a number is passed over by the two, but not by the sum.
    masks = [row["segmentation"] for row in rows if "segmentation" in row]
    return not math.isnan(sum(numbers)) and type(None) not in set(map(type, masks))


def _lacking(row: Any) -> str | None:
    """What a row lacks, as the end of a sentence; None where it is whole. Drops empty values."""
    if not isinstance(row, dict):
        return f"lacks {', '.join(REQUIRED_KEYS)}: it is {shown(row)}"
    if row.get("segmentation", 0) is None:
        del row["segmentation"]
    if row.get("keypoints", 0) is None:
        del row["keypoints"]
    if row.get("bbox", 0) is None or (
        row.get("bbox") == [] and ("segmentation" in row or "keypoints" in row)
    ):
        del row["bbox"]
    missing = [key for key in REQUIRED_KEYS if key not in row]
    if not missing and not scorable_tasks(row):
        missing = ["bbox and segmentation"]
    return f"lacks {', '.join(missing)}" if missing else None


def _id_fault(row: Row) -> str | None:
    """What is wrong with the ids of a prediction where the annotations are not at hand."""
    for key in ("image_id", "category_id"):
        if whole(row[key]) is None:
            return f"has the {key} {shown(row[key])}; expected an integer"
        row[key] = whole(row[key])
    return None


def _fault(row: Row, sizes: Mapping[int, tuple[int, int]], categories: set[int]) -> str | None:
    """What is wrong with a prediction but for its mask, as the end of a sentence; None when
    nothing is. Makes ids integers.
    """
    image, category = whole(row["image_id"]), whole(row["category_id"])
    for key, known in (("image_id", sizes), ("category_id", categories)):
        if (fault := _text_fault(key, row[key], known)) is not None:
            return fault
    if image is None or image not in sizes:
        return f"names image {shown(row['image_id'])}, which the annotations do not have"
    if category is None or category not in categories:
        return (
            f"names category {shown(row['category_id'])}, which the annotations do not have; "
            "predictions carry COCO category ids, not class indices"
        )
    if not finite([row["score"]]):
        return f"has the score {shown(row['score'])}; expected a finite number"
    row["image_id"], row["category_id"] = image, category
    return box_fault(row["bbox"]) if "bbox" in row else None


def _text_fault(key: str, given: Any, known: Collection[int]) -> str | None:
    """What is wrong with an id that is known, but written as text or as true and false."""
    if isinstance(given, bool):
        return f"has the {key} {given}; expected an integer"
    short = isinstance(given, str) and len(given) < LONGEST_NUMBER
    if short and given.strip().isdecimal() and int(given) in known:
        return f"has the {key} as text, {shown(given)}; write it as a number: {int(given)}"
    return None


def _mask_fault(row: Row) -> str | None:
    mask = row["segmentation"]
    if isinstance(mask, dict) and isinstance(mask.get("counts"), str):
        return None
    kind = "polygons" if isinstance(mask, list) else "a mask"
    return (
        f"has {kind} {shown(mask)}; expected size and compressed run lengths (those of "
        "pycocotools.mask.encode, as text)"
    )


def _ids_hint(row: Row, content: Mapping[str, Any]) -> str | None:
    """What may be meant by an image id that is text; None where it is none."""
    image = row.get("image_id")
    if not isinstance(image, str):
        return None
    for known in content["images"]:
        name = known["file_name"]
        if image in (name, Path(name).name, Path(name).stem):
            return f"{shown(image)} is a file name; its image has the id {known['id']}"
        if image.strip().lstrip("0") == str(known["id"]):
            return f"{shown(image)} is text; write the number {known['id']}"
    return "ids are numbers, the ids that the annotation file gives its images"


def _require_alike(rows: Sequence[Row], where: str) -> None:
    """Raise IntegrityError where some rows have a box, a mask or keypoints and others have not."""
    orders = Counter(map(tuple, rows))  # of the keys
    counts = {
        facts.key: sum(count for keys, count in orders.items() if facts.key in keys)
        for facts in TASKS.values()
    }
    if rows and len(rows) not in counts.values():
        raise IntegrityError(
            f"{where}: some predictions have only a box and others only a mask",
            hint="give each row both, or put them into two files",
        )
    for key, count in counts.items():
        if 0 < count < len(rows):
            position = next(number for number, row in enumerate(rows) if key not in row)
            raise IntegrityError(
                f"{where}: prediction {position} has no {key}, and {count} of {len(rows)} have one",
                hint=f"give every prediction a {key}, or none",
            )


#: Ids are below this.
MOST_ID = 2**62

#: An image whose name is not a known one gets a number that no annotation file has.
UNKNOWN_IMAGE = -MOST_ID

#: Keys of a row that has a box and nothing else.
PLAIN_KEYS = {"image_id", "category_id", "bbox", "score"}


def loose_predictions(
    rows: Any, *, where: str, watch: Callable[[], None] | None = None
) -> list[Row]:
    """Rows with ids that are integers, four finite numbers and masks that can be read.

    Args:
        rows: Parsed from JSON.
        where: What errors call the file.
        watch: Called at every row; what it raises ends the reading.

    Raises:
        IntegrityError: It is not a list of predictions, or the first row that is beyond all bounds.
    """
    if not isinstance(rows, list):
        raise IntegrityError(
            f"{where} holds {type(rows).__name__}; COCO results are a list of predictions",
            hint="ground truth goes to --annotations",
        )
    if rows and all(isinstance(row, dict) and _of_keypoints(row) for row in rows):
        raise IntegrityError(
            f"{where} holds keypoints alone: faults of boxes and masks are what is looked for",
            hint="for their AP run: harness score",
        )
    names: dict[str, int] = {}
    kept, masks = [], Masks()
    for position, row in enumerate(rows):
        if watch is not None:
            watch()
        if _is_plain_box(row):
            kept.append(row.copy())
            continue
        fault = _loose_fault(row)
        if fault is None:
            kept.append(_plain(row, names))
            if "segmentation" in kept[-1]:
                fault = masks.fault(position, kept[-1], *kept[-1]["segmentation"]["size"])
        if fault is not None:
            raise IntegrityError(f"{where}: prediction {position} {fault}")
    text_fault = masks.text_fault(watch=watch or (lambda: None))
    if text_fault is not None:
        raise IntegrityError(f"{where}: prediction {text_fault[0]} {text_fault[1]}")
    return _alike(kept, where)


def _of_keypoints(row: Row) -> bool:
    """Whether a row has keypoints, and neither a box nor a mask."""
    return bool(row.get("keypoints")) and not (row.get("bbox") or row.get("segmentation"))


def _is_plain_box(row: Any) -> bool:
    """Whether a row is as nearly all are: a box with integer ids, which need no other look."""
    if not isinstance(row, dict) or row.keys() != PLAIN_KEYS:
        return False
    image, category, score = row["image_id"], row["category_id"], row["score"]
    return (
        type(image) is type(category) is int
        and type(score) is float
        and math.isfinite(score)
        and -MOST_ID < image < MOST_ID
        and -MOST_ID < category < MOST_ID
        and box_fault(row["bbox"]) is None
    )


def _loose_fault(row: Any) -> str | None:
    """What is wrong with a row, as the end of a sentence; None when it can be looked at."""
    if not isinstance(row, dict) or any(key not in row for key in REQUIRED_KEYS):
        return f"lacks {', '.join(REQUIRED_KEYS)}: it is {shown(row)}"
    image, category = row["image_id"], whole(row["category_id"])
    if whole(image) is None and not isinstance(image, str):
        return f"has the image_id {shown(image)}; expected an integer or a file name"
    if abs(whole(image) or 0) >= MOST_ID:
        return f"has the image_id {shown(image)}; expected an integer below 2⁶²"
    if category is None or abs(category) >= MOST_ID:
        return f"has the category_id {shown(row['category_id'])}; expected an integer"
    if not finite([row["score"]]):
        return f"has the score {shown(row['score'])}; expected a finite number"
    if row.get("bbox") and (fault := box_fault(row["bbox"])) is not None:
        return fault
    return _loose_mask_fault(row.get("segmentation"))


def _loose_mask_fault(mask: Any) -> str | None:
    if mask is None:
        return None
    size = mask.get("size") if isinstance(mask, dict) else None
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        return f"has the mask {shown(mask)}; expected size and compressed run lengths"
    sides = [whole(one) for one in size] if isinstance(size, list) and len(size) == 2 else []
    if len(sides) != 2 or any(one is None or one <= 0 for one in sides):
        return f"has a mask of the size {shown(size)}; expected [height, width]"
    height, width = (int(one) for one in sides if one is not None)
    return size_fault(height, width)


def _plain(row: Row, names: dict[str, int]) -> Row:
    image = row["image_id"]
    if isinstance(image, str):
        number = names.setdefault(image, UNKNOWN_IMAGE + len(names))
    else:
        number = int(image)
    kept = {"image_id": number, "category_id": int(row["category_id"]), "score": row["score"]}
    if row.get("bbox"):
        kept["bbox"] = row["bbox"]
    if row.get("segmentation"):
        mask = row["segmentation"]
        kept["segmentation"] = {
            "size": [int(one) for one in mask["size"]],
            "counts": mask["counts"],
        }
    return kept


def _alike(rows: Sequence[Row], where: str) -> list[Row]:
    """The rows with the keys that all of them have: a box, a mask, or both."""
    for key in ("bbox", "segmentation"):
        if not all(key in row for row in rows):
            for row in rows:
                row.pop(key, None)
    if rows and not ("bbox" in rows[0] or "segmentation" in rows[0]):
        raise IntegrityError(
            f"{where}: some predictions have only a box and others only a mask, or neither",
            hint="give each row both, or put them into two files",
        )
    return list(rows)
