"""Files of region proposals, read without running them: Detectron2's pickles, and COCO results."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import HarnessError, IntegrityError, UsageError
from harness.core.printable import shown
from harness.data.coco import FARTHEST_BOX_PX, box_fault
from harness.data.predictions import read_predictions
from harness.data.proposals import Boxes
from harness.data.shapes import finite, whole
from harness.files.digest import file_digest
from harness.zoo.pickles import STAND_INS, Array, Budget, Machine

#: Numbers of ``structures/boxes.py`` BoxMode: corners, or a corner and the sides.
CORNERS, SIDES = 0, 1

#: An id as text: what ``str`` makes of a number of at most 64 bits, and spaces around it.
_DIGITS = re.compile(r"\s*-?[0-9]{1,19}\s*")

#: Ids that a message lists.
LISTED = 5

#: What a file has a list of, one item an image (``data/build.py`` load_proposals_into_dataset).
KEYS = ("ids", "boxes", "objectness_logits")

#: Older names of two of them.
OLDER_KEYS = {"indexes": "ids", "scores": "objectness_logits"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFile:
    """Region proposals of the images of a data set, and the file they were read from."""

    path: Path
    """The file."""

    sha256: str
    """Its hash."""

    published: bool
    """Whether it is where the download puts the proposals a model is published with."""

    boxes: Mapping[int, Boxes]
    """(n, 4) x1, y1, x2, y2 in px of the original image, best first, by image id."""


def read_proposals(path: Path, image_ids: Collection[int], *, published: bool) -> ProposalFile:
    """The proposals of a file for the images of a data set; those of others are left out.

    Args:
        path: A pickle as Detectron2 writes it (``box_proposals.pkl``), or COCO results, which are
            JSON: then scores decide the order.
        image_ids: Ids of the data set.
        published: As ``ProposalFile`` has it.

    Raises:
        UsageError: There is no such file.
        IntegrityError: It is damaged or holds something else, or lacks some of the images.
    """
    if not path.is_file():
        raise UsageError(
            f"no such file of region proposals: {path}",
            hint="give a file, or a run of an RPN: harness eval --model rpn_R_50_FPN_1x",
        )
    wanted = set(image_ids)
    if path.suffix.lower() == ".json":
        boxes = _of_results(path, wanted)
    else:
        boxes = _of_pickle(path, wanted)
    absent = sorted(wanted - set(boxes))
    if absent:
        raise IntegrityError(
            f"{path} has no proposals of {len(absent)} of {len(wanted)} images: image "
            + _listed(absent),
            hint="it was made of another data set, or of a part of this one"
            if boxes
            else "it has none of these images: it was made of another data set",
        )
    return ProposalFile(path=path, sha256=file_digest(path), published=published, boxes=boxes)


def _listed(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
    return ", ".join(str(one) for one in ids[:LISTED]) + more


def _of_pickle(path: Path, wanted: Collection[int]) -> dict[int, Boxes]:
    """The proposals of a pickle with the keys ids, boxes and objectness_logits.

    Raises:
        IntegrityError: It is no such pickle, or has an image twice.
    """
    table = _table(path)
    mode = table.get("bbox_mode", CORNERS)
    if mode not in (CORNERS, SIDES):
        raise _unreadable(path, f"bbox_mode {shown(mode)} is neither XYXY_ABS nor XYWH_ABS")
    found: dict[int, Boxes] = {}
    for written, *arrays in zip(*(table[key] for key in KEYS), strict=True):
        number = _id_of(written, path)
        if number in found:
            raise _unreadable(path, f"image {number} is in it twice")
        if number in wanted:
            found[number] = _sorted(*arrays, sides=mode == SIDES, where=f"{path}: image {number}")
    return found


def _table(path: Path) -> dict[Any, Any]:
    """The dict in a pickle, with a list of the same length under each of ``KEYS``.

    Raises:
        IntegrityError: It holds anything else.
    """
    try:
        with path.open("rb") as file:
            content = Machine(STAND_INS, Budget(path.stat().st_size)).run(file)
    except HarnessError as error:
        raise _unreadable(path, error.message) from None
    except Exception as error:  # whatever damaged bytes make of the machine
        raise _unreadable(path, f"it is cut off or damaged ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise _unreadable(path, f"it holds {type(content).__name__}, not a dict")
    table = {OLDER_KEYS.get(key, key): value for key, value in content.items()}
    for key in KEYS:
        if not isinstance(table.get(key), list | tuple):
            raise _unreadable(path, f"it has no list of {key}")
    lengths = {key: len(table[key]) for key in KEYS}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{length} {key}" for key, length in lengths.items())
        raise _unreadable(path, f"it lists {listed}")
    return table


def _id_of(written: Any, path: Path) -> int:
    """An id that is a whole number, or its text: Detectron2 compares the texts.

    Raises:
        IntegrityError: It is neither.
    """
    value = written
    if isinstance(written, Array):
        value = written.values.item() if written.values.ndim == 0 else written.values.tolist()
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    number = whole(value)
    if number is None:
        raise _unreadable(path, f"the image id {shown(value)} is not a whole number")
    return number


def _sorted(boxes: Any, logits: Any, *, sides: bool, where: str) -> Boxes:
    """The boxes of one image, best first, in the order of Detectron2's own sort.

    Raises:
        IntegrityError: They are not numbers, or not one logit a box.
    """
    if not isinstance(boxes, Array) or not isinstance(logits, Array):
        raise IntegrityError(f"{where}: boxes and objectness_logits must be arrays of NumPy")
    places, order = boxes.values, logits.values
    if places.size == 0 and order.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if places.ndim != 2 or places.shape[1] != 4 or order.shape != places.shape[:1]:
        raise IntegrityError(
            f"{where}: expected boxes (n, 4) and objectness_logits (n,), found {places.shape} and "
            f"{order.shape}"
        )
    if not np.isfinite(places).all() or not np.isfinite(order).all():
        raise IntegrityError(f"{where}: a box or its objectness is not a finite number")
    if places.dtype not in (np.float32, np.float64):
        places = places.astype(np.float32)  # the least whole number has no absolute value
    if np.abs(places).max() > FARTHEST_BOX_PX:
        raise IntegrityError(f"{where}: no side or corner may exceed {FARTHEST_BOX_PX:,.0f} px")
    # Among equal ones this sort decides who is first, and so who is among the best thousand.
    places = places[order.argsort()[::-1]]
    if sides:
        places[:, 2:] += places[:, :2]
    return places


def _of_results(path: Path, wanted: Collection[int]) -> dict[int, Boxes]:
    """The boxes of COCO results; the best score comes first, equal ones as the file has them.

    Raises:
        IntegrityError: They are no results, or objects of several classes.
    """
    rows: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    classes = set()
    for position, row in enumerate(read_predictions(path, None)):
        fault = box_fault(row.get("bbox")) or (
            None if finite([row["score"]]) else f"has the score {shown(row['score'])}"
        )
        if fault is not None:
            raise IntegrityError(f"{path}: prediction {position} {fault}")
        classes.add(row["category_id"])
        if row["image_id"] in wanted:
            rows[row["image_id"]].append(row)
    if len(classes) > 1:
        raise IntegrityError(
            f"{path} has objects of {len(classes)} categories: these are detections, and proposals "
            "have one",
            hint="proposals are what harness eval leaves of an RPN: --model rpn_R_50_FPN_1x",
        )
    return {image: _of_rows(each) for image, each in rows.items()}


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> Boxes:
    scores = np.array([row["score"] for row in rows])
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2]
    ordered: Boxes = boxes[(-scores).argsort(kind="stable")]
    return ordered


def _unreadable(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"cannot read {path} as region proposals: {reason}",
        hint="Detectron2 writes them as box_proposals.pkl when it evaluates an RPN, and harness "
        "eval as predictions.json",
    )
