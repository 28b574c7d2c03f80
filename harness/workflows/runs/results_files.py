"""Files of predictions, of this program or another: JSON, or what ``torch.save`` wrote.

No pickle is run: ``zoo.torch_files`` reads what data they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import HarnessError, IntegrityError, UsageError
from harness.core.printable import counted, shown_text
from harness.core.requests.reports import ClassIds
from harness.core.run_files import PREDICTIONS
from harness.data.foreign_ids import (
    AS_ULTRALYTICS,
    CLASS_IDS_HINT,
    class_table,
    with_category_ids,
    with_image_ids,
    with_said_ids,
)
from harness.data.foreign_results import MESSAGE, Adopted, adopted
from harness.data.predictions import checked_predictions, loose_predictions, parsed, predictions_in
from harness.data.shapes import whole
from harness.workflows.runs.folder import require_own_predictions
from harness.zoo.torch_files import read_tables

Row = dict[str, Any]

#: Endings of what torch and pickle write.
PICKLED_ENDINGS = (".pth", ".pt", ".pkl", ".pickle")

AS_JSON = "write them as JSON: COCO results, as Detectron2's coco_instances_results.json is"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResults:
    """Predictions of a file."""

    rows: list[Row]
    """COCO results."""
    assumed: tuple[str, ...]
    """What was assumed of another program's file, one sentence each."""


def read_results(
    path: Path,
    content: Mapping[str, Any],
    classes: ClassIds = "auto",
    *,
    listed_only: bool = False,
) -> ReadResults:
    """The valid predictions of a file, of COCO's form or another program's.

    Args:
        path: The file.
        content: As returned by ``data.coco.read_annotations``.
        classes: What its category ids are.
        listed_only: Whether rows of images that the annotations do not list are left out.

    Raises:
        UsageError: It is not there.
        IntegrityError: It has no form that is known, or a row that is not valid.
    """
    rows, assumed = _adopted(_parsed(path), path, content, classes, loose=False)
    if listed_only and isinstance(rows, list):
        rows, left_out = _of_listed_images(rows, content)
        assumed += left_out
    try:
        if assumed:
            found = checked_predictions(rows, content, where=str(path))
        else:
            found = predictions_in(rows, path, content)
    except IntegrityError as error:
        if error.hint is None and classes == "auto" and _lacks_categories(rows, content):
            raise IntegrityError(error.message, hint=CLASS_IDS_HINT) from error
        raise
    return ReadResults(rows=found, assumed=assumed)


def _of_listed_images(
    rows: list[Any], content: Mapping[str, Any]
) -> tuple[list[Any], tuple[str, ...]]:
    """The rows but those of images that the annotations do not list, and a sentence about these."""
    listed: set[int | None] = {None, *(image["id"] for image in content["images"])}
    kept = [
        row for row in rows if not isinstance(row, Mapping) or whole(row.get("image_id")) in listed
    ]
    if len(kept) == len(rows):
        return rows, ()
    left_out = counted(
        len(rows) - len(kept),
        "row is of an image that is not compared",
        "rows are of images that are not compared",
    )
    return kept, (left_out,)


def _lacks_categories(rows: Any, content: Mapping[str, Any]) -> bool:
    """Whether category ids are none of the annotations."""
    known = {category["id"] for category in content["categories"]}
    if not isinstance(rows, list):
        return False
    given = {whole(row.get("category_id")) for row in rows if isinstance(row, Mapping)}
    return bool(given - known - {None})


def read_source(
    source: Path,
    content: Mapping[str, Any],
    classes: ClassIds = "auto",
    *,
    listed_only: bool = False,
) -> ReadResults:
    """The valid predictions of a file, or of a run folder, whose own are compared with its sums.

    Args:
        source: The file or folder.
        content: As returned by ``data.coco.read_annotations``.
        classes: What the category ids of a file are; those of a run are known.
        listed_only: As in ``read_results``.

    Raises:
        UsageError: There are none.
        IntegrityError: As in ``read_results``; or a run's were damaged since it wrote them.
    """
    if not source.is_dir():
        return read_results(source, content, classes, listed_only=listed_only)
    if not (source / PREDICTIONS).is_file():
        raise UsageError(f"{source} holds no predictions", hint="they are made by: harness eval")
    unknown = require_own_predictions(source)
    found = read_results(source / PREDICTIONS, content, listed_only=listed_only)
    return found if unknown is None else replace(found, assumed=(*found.assumed, unknown))


def read_loosely(
    path: Path,
    content: Mapping[str, Any],
    classes: ClassIds = "auto",
    *,
    watch: Callable[[], None] | None = None,
) -> ReadResults:
    """The predictions of a file whose ids and boxes need not fit the annotations.

    Args:
        path: The file.
        content: As returned by ``data.coco.read_annotations``.
        classes: What its category ids are.
        watch: Called at every row; what it raises ends the reading.

    Raises:
        UsageError: It is not there.
        IntegrityError: It has no form that is known, or values that are beyond all bounds.
    """
    rows, assumed = _adopted(_parsed(path, watch), path, content, classes, loose=True)
    found = loose_predictions(rows, where=str(path), watch=watch)
    if any(row.get("keypoints") for row in rows):
        assumed += ("keypoints are left out: faults of boxes and masks are what is looked for",)
    return ReadResults(rows=found, assumed=assumed)


def as_scored(rows: list[Row], content: Mapping[str, Any]) -> ReadResults:
    """COCO results that were read loosely, as ``read_results`` would take them, not checked.

    Args:
        rows: As returned by ``read_loosely``, where it assumed nothing.
        content: As returned by ``data.coco.read_annotations``.
    """
    meant, assumed = _with_ids(rows, content, None, "auto", loose=False)
    return ReadResults(rows=meant, assumed=assumed)


def _adopted(
    content_of_file: Any,
    path: Path,
    content: Mapping[str, Any],
    classes: ClassIds,
    *,
    loose: bool,
) -> tuple[Any, tuple[str, ...]]:
    """The rows of a parsed file as COCO results, and what was assumed of another program's."""
    try:
        found = adopted(content_of_file, content, classes)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=error.hint) from error
    rows = content_of_file if found is None else found.rows
    if not isinstance(rows, list):
        return rows, ()
    if path.suffix.lower() in PICKLED_ENDINGS:
        rows = [_without_arrays(row) for row in rows]
    try:
        return _with_ids(rows, content, found, classes, loose=loose)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=error.hint) from error


def _with_ids(
    rows: list[Any],
    content: Mapping[str, Any],
    found: Adopted | None,
    classes: ClassIds,
    *,
    loose: bool,
) -> tuple[list[Any], tuple[str, ...]]:
    """Rows with the ids of the annotations, and what was assumed.

    Read loosely, numbers stay as they are where nothing but themselves says that they are no ids:
    that is what a diagnosis looks for.
    """
    images = with_image_ids(rows, content, plain=not loose and found is None)
    if found is not None:  # which names its images as it always does
        return images.rows, (found.sentence,)
    if classes != "auto":
        said = with_said_ids(images.rows, class_table(classes, content))
        return said.rows, (*images.sentences, *said.sentences)
    named = _has_file_names(rows) or any(AS_ULTRALYTICS in one for one in images.sentences)
    if loose and not named:
        return images.rows, images.sentences
    categories = with_category_ids(images.rows, content, plain=not named)
    return categories.rows, (*images.sentences, *categories.sentences)


def _without_arrays(value: Any, levels: int = 2) -> Any:
    """A row of a pickle with lists and numbers in the place of arrays."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if levels and isinstance(value, dict):
        return {key: _without_arrays(one, levels - 1) for key, one in value.items()}
    if levels and isinstance(value, list):
        return [_without_arrays(one, levels - 1) for one in value]
    return value


def _has_file_names(rows: list[Any]) -> bool:
    return bool(rows) and all(isinstance(row, Mapping) and "file_name" in row for row in rows)


def _parsed(path: Path, watch: Callable[[], None] | None = None) -> Any:
    """What a file holds."""
    if path.suffix.lower() not in PICKLED_ENDINGS:
        return parsed(path, watch=watch)
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    try:
        return read_tables(path)
    except HarnessError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=AS_JSON) from error
    except Exception as error:  # cut off, or of another kind
        reason = f"{type(error).__name__}: {shown_text(str(error), MESSAGE)}"
        raise IntegrityError(
            f"{path} cannot be read as a pickle or a file of torch: {reason}", hint=AS_JSON
        ) from error
