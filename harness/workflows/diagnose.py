"""``harness diagnose``: why an AP is what it is.

Predictions are read as they are, also where ``harness score`` would refuse them, and the catalogue
of known faults (``harness.diagnosis``) is tried on them. With a reference the two are compared:
metric by metric, and down to the first image and stage that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress
from harness.core.requests.inference import DiagnoseRequest
from harness.core.requests.saved import SavedPredictions
from harness.core.tasks import Task, are_proposals
from harness.data.coco import read_annotations
from harness.data.edit.splitting import only_images
from harness.data.predictions import checked_predictions
from harness.data.proven import read_annotations_of
from harness.diagnosis.case import Case, rows_of, truth_of
from harness.diagnosis.findings import Diagnosed, diagnose
from harness.workflows.diagnose_reference import Against, against
from harness.workflows.runs.files import PREDICTIONS, RECORD, read_run
from harness.workflows.runs.records import read_record, require_own_predictions
from harness.workflows.runs.results_files import ReadResults, read_loosely

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why the AP of some predictions is what it is."""

    predictions: str
    """The file of predictions."""
    annotations: str
    """The annotation file."""
    row_count: int
    """Number of predictions."""
    image_count: int
    """Number of images that are scored."""
    assumed: tuple[str, ...]
    """What was assumed of another program's file, one sentence each."""
    refused: str | None
    """Why ``harness score`` refuses the file; None where it does not."""
    diagnosed: Diagnosed
    """What was found."""
    reference: Against | None
    """What differs from the reference; None without one."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is diagnosed."""

    predictions: Path
    """The file of predictions."""
    annotations: Path
    """The annotation file."""
    content: Mapping[str, Any]
    """What it holds, of the images that are scored."""
    read: ReadResults
    """The predictions."""
    run: Path | None
    """The run folder they are of; None for a file."""


def diagnose_predictions(
    request: DiagnoseRequest, *, progress: Progress, clock: Callable[[], float]
) -> Diagnosis:
    """Find out why an AP is what it is.

    Args:
        request: What to look at.
        progress: Where notices go.
        clock: Seconds that rise.

    Raises:
        UsageError: Nothing to look at, or two things at once.
        IntegrityError: A file is damaged, or holds no predictions.
    """
    begun = clock()
    subject = _subject(request.saved, progress)
    for sentence in subject.read.assumed:
        progress.notice(f"note: {sentence}")
    case = Case(
        rows=rows_of(subject.read.rows), truth=truth_of(subject.content, tasks_of(subject.read))
    )
    refused = _refusal(subject, case)
    diagnosed = diagnose(case, limit_s=max(1.0, request.limit_s - (clock() - begun)), clock=clock)
    reference = None
    if request.reference is not None:
        reference = against(
            request.reference,
            content=subject.content,
            rows=subject.read.rows,
            run=subject.run,
            progress=progress,
        )
    return Diagnosis(
        predictions=str(subject.predictions),
        annotations=str(subject.annotations),
        row_count=len(subject.read.rows),
        image_count=len(subject.content["images"]),
        assumed=subject.read.assumed,
        refused=refused,
        diagnosed=diagnosed,
        reference=reference,
        seconds=clock() - begun,
    )


def tasks_of(read: ReadResults) -> tuple[Task, ...]:
    """What the predictions of a file can be compared by; boxes always, if only to find places."""
    masked = bool(read.rows) and "segmentation" in read.rows[0]
    return ("bbox", "segm") if masked else ("bbox",)


def _subject(saved: SavedPredictions, progress: Progress) -> _Subject:
    source = saved.source("diagnose")
    if isinstance(source, Path):
        return _of_run(source, saved.annotations, progress)
    predictions, annotations = source
    content = read_annotations(annotations)
    return _Subject(
        predictions=predictions,
        annotations=annotations,
        content=content,
        read=read_loosely(predictions, content),
        run=None,
    )


def _of_run(folder: Path, annotations: Path | None, progress: Progress) -> _Subject:
    facts = read_run(folder).dataset
    path = folder / PREDICTIONS
    if not facts.annotations_path or not path.exists():
        raise UsageError(
            f"{folder} holds no predictions with a ground truth",
            hint="they are made by: harness eval",
        )
    if (folder / RECORD).exists() and are_proposals(read_record(folder).metrics):
        raise UsageError("proposals have no class, and so no AP to be explained")
    unknown = require_own_predictions(folder)
    if unknown is not None:
        progress.notice(f"note: {unknown}")
    if annotations is None:
        content = read_annotations_of(facts, "name the file to look at with --annotations")
        ids = sorted(image["id"] for image in content["images"])
        content = only_images(content, frozenset(ids[: facts.evaluated_images]))
    else:
        content = read_annotations(annotations)
    return _Subject(
        predictions=path,
        annotations=annotations or Path(facts.annotations_path),
        content=content,
        read=read_loosely(path, content),
        run=folder,
    )


def _refusal(subject: _Subject, case: Case) -> str | None:
    """Why the predictions are not valid; None where they are.

    Rows that could be read loosely may lack a known image or category, and the size of their image;
    only the first such one is looked at, as there may be millions of them.
    """
    doubtful = (case.position < 0) | (case.truth.class_of(case.rows.category_id) < 0)
    if case.rows.masks:
        sizes = np.array([one["size"] for one in case.rows.masks], dtype=np.float64)
        doubtful |= (sizes != case.sizes_px).any(axis=1)
    for position in np.flatnonzero(doubtful)[:1].tolist():
        row = dict(subject.read.rows[position])
        try:
            checked_predictions([row], subject.content, where="the file", first=position)
        except HarnessError as error:
            return error.message
    return None
