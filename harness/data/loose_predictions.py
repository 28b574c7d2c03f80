"""Predictions whose ids and boxes need not fit any annotations, to find out what they mean.

``data.predictions`` refuses a category that is not listed; that may be the very fault that is
looked for. What stays is what keeps code in C safe and numbers finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.core.errors import IntegrityError
from harness.core.shown import shown
from harness.data.coco import box_fault
from harness.data.predictions import REQUIRED_KEYS
from harness.data.segmentations import Masks, finite, whole
from harness.measure.masks import size_fault

Row = dict[str, Any]

#: Ids are below this.
MOST_ID = 2**62

#: An image whose name is no known one gets a number that no annotation file has.
UNKNOWN_IMAGE = -MOST_ID

#: Keys of a row that has a box and nothing else.
PLAIN_KEYS = {"image_id", "category_id", "bbox", "score"}


def loose_predictions(rows: Any, *, where: str) -> list[Row]:
    """Rows with ids that are integers, four finite numbers and masks that can be read.

    Args:
        rows: Parsed from JSON.
        where: What errors call the file.

    Raises:
        IntegrityError: It is no list of predictions, or the first row that is beyond all bounds.
    """
    if not isinstance(rows, list):
        raise IntegrityError(
            f"{where} holds {type(rows).__name__}; COCO results are a list of predictions",
            hint="ground truth goes to --annotations",
        )
    if rows and all(isinstance(row, dict) and _of_keypoints(row) for row in rows):
        raise IntegrityError(
            f"{where} holds keypoints alone: faults of boxes and masks are what is looked for",
            hint="their AP: harness score; what each kind of error costs: harness analyze",
        )
    names: dict[str, int] = {}
    kept, masks = [], Masks()
    for position, row in enumerate(rows):
        if _is_plain_box(row):
            kept.append(row.copy())
            continue
        fault = _fault(row)
        if fault is None:
            kept.append(_plain(row, names))
            if "segmentation" in kept[-1]:
                fault = masks.fault(position, kept[-1], *kept[-1]["segmentation"]["size"])
        if fault is not None:
            raise IntegrityError(f"{where}: prediction {position} {fault}")
    text_fault = masks.text_fault()
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


def _fault(row: Any) -> str | None:
    """What is wrong with a row, as the end of a sentence; None when it can be looked at."""
    if not isinstance(row, dict) or any(key not in row for key in REQUIRED_KEYS):
        return f"lacks {', '.join(REQUIRED_KEYS)}: it is {shown(row)}"
    image, category = row["image_id"], whole(row["category_id"])
    if whole(image) is None and not isinstance(image, str):
        return f"has the image_id {shown(image)}; expected an integer or a file name"
    if category is None or abs(category) >= MOST_ID or abs(whole(image) or 0) >= MOST_ID:
        return f"has the category_id {shown(row['category_id'])}; expected an integer"
    if not finite([row["score"]]):
        return f"has the score {shown(row['score'])}; expected a finite number"
    if row.get("bbox") and (fault := box_fault(row["bbox"])) is not None:
        return fault
    return _mask_fault(row.get("segmentation"))


def _mask_fault(mask: Any) -> str | None:
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
            hint="give each of them both, or put them into two files",
        )
    return list(rows)
