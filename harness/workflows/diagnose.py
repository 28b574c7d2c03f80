"""``harness diagnose``: why an AP is what it is.

Predictions are read as they are, also where ``harness score`` would refuse them, and the catalogue
of known faults (``harness.diagnosis``) is tried on them. With a reference the two are compared:
metric by metric, and down to the first image and stage that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.core.errors import HarnessError, IntegrityError, UsageError
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.requests.inference import DiagnoseRequest
from harness.core.requests.reports import ClassIds, SavedPredictions
from harness.core.run_files import PREDICTIONS, RECORD
from harness.core.tasks import Task, are_proposals
from harness.data.coco import read_annotations
from harness.data.edit.splitting import only_images
from harness.data.predictions import checked_predictions
from harness.diagnosis.case import Case, rows_of, truth_of
from harness.diagnosis.findings import Diagnosed, diagnose
from harness.diagnosis.time_limit import OutOfTimeError
from harness.measure.bootstrap import SEED, Difference, differences_of
from harness.measure.resampling import matches_by_size
from harness.workflows.runs.files import read_run
from harness.workflows.runs.folder import read_record, require_own_predictions
from harness.workflows.runs.results_files import (
    ReadResults,
    as_scored,
    read_loosely,
    read_source,
)
from harness.workflows.runs.same_data import annotations_of_run, scored_images
from harness.workflows.runs.same_predictions import differing_images

Row = Mapping[str, Any]


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
    score_assumes: tuple[str, ...]
    """What ``harness score`` takes for granted of rows that a diagnosis leaves as they are."""
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


#: Part of what reading took that it takes to release what was read: 0.3 of 6 s with 10⁶ rows.
RELEASING_PART = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLeft:
    """The time limit of a diagnosis, of which reading is a part."""

    limit_s: float
    """The limit."""
    begun: float
    """When the diagnosis began, on the clock."""
    ending_s: float
    """What is kept for printing and for leaving the program."""
    clock: Callable[[], float]
    """Seconds that rise."""

    @property
    def seconds(self) -> float:
        """What is left."""
        return self.limit_s - self.ending_s - (self.clock() - self.begun)

    def watch(self, before: str) -> Callable[[], None]:
        """A look at the clock, which raises what ``ended`` returns where no time is left.

        Args:
            before: What has not been done yet.
        """

        def look() -> None:
            if self.seconds <= RELEASING_PART * (self.clock() - self.begun):
                raise self.ended(before)

        return look

    def ended(self, before: str) -> UsageError:
        """The error of a diagnosis without a result.

        Args:
            before: What has not been done yet.
        """
        return UsageError(
            f"the time limit of {self.limit_s:g} s ended before {before}; nothing was diagnosed",
            hint="give more with --time-limit, or predictions and annotations of fewer images: "
            "harness data subset",
        )


#: Part of what starting the program took that leaving it takes: 0.1 to 0.2 s of a second.
ENDING_PART = 0.3

NOT_ASKED = "there was no time to see what harness score takes the ids for, or refuses"


def diagnose_predictions(
    request: DiagnoseRequest,
    *,
    progress: Progress,
    clock: Callable[[], float],
    begun: float | None = None,
) -> Diagnosis:
    """Find out why an AP is what it is.

    Args:
        request: What to look at.
        progress: Where notices go.
        clock: Seconds that rise.
        begun: When the program began, on the clock, where that counts; None for now.

    Raises:
        UsageError: Nothing to look at, or two things at once; or the time limit was over before
            the files were read.
        IntegrityError: A file is damaged, or holds no predictions.
    """
    now = clock()
    time_left = _time_left(request.limit_s, now if begun is None else begun, clock)
    subject = _subject(request.saved, progress, time_left)
    for sentence in subject.read.assumed:
        progress.notice(f"note: {sentence}")
    watch = time_left.watch("the search began")
    case = Case(
        rows=rows_of(subject.read.rows, watch=watch),
        truth=truth_of(subject.content, tasks_of(subject.read), watch=watch),
    )
    row_count = len(subject.read.rows)
    asked = time_left.seconds >= clock() - now  # it takes no longer than reading did
    refused, score_assumes = _as_scored(subject, case) if asked else (None, ())
    if request.reference is None:
        subject.read.rows.clear()  # takes a while, too, where there are millions
    diagnosed = _diagnosed(case, time_left, () if asked else (NOT_ASKED,))
    return Diagnosis(
        predictions=str(subject.predictions),
        annotations=str(subject.annotations),
        row_count=row_count,
        image_count=len(subject.content["images"]),
        assumed=subject.read.assumed,
        refused=refused,
        score_assumes=score_assumes,
        diagnosed=diagnosed,
        reference=_against(request, subject, progress),
        seconds=clock() - time_left.begun,
    )


def _time_left(limit_s: float, begun: float, clock: Callable[[], float]) -> TimeLeft:
    ending_s = ENDING_PART * (clock() - begun)
    return TimeLeft(limit_s=limit_s, begun=begun, ending_s=ending_s, clock=clock)


def _against(request: DiagnoseRequest, subject: _Subject, progress: Progress) -> Against | None:
    if request.reference is None:
        return None
    return against(
        request.reference,
        content=subject.content,
        rows=subject.read.rows,
        run=subject.run,
        classes=request.saved.foreign.class_ids,
        progress=progress,
    )


def _diagnosed(case: Case, time_left: TimeLeft, notes: tuple[str, ...]) -> Diagnosed:
    """What was found in the time that is left, with more notes."""
    try:
        found = diagnose(case, limit_s=time_left.seconds, clock=time_left.clock)
    except OutOfTimeError as error:
        raise time_left.ended("the predictions were scored") from error
    return replace(found, notes=(*found.notes, *notes))


def tasks_of(read: ReadResults) -> tuple[Task, ...]:
    """What the predictions of a file can be compared by; boxes always, if only to find places."""
    masked = bool(read.rows) and "segmentation" in read.rows[0]
    return ("bbox", "segm") if masked else ("bbox",)


def _subject(saved: SavedPredictions, progress: Progress, time_left: TimeLeft) -> _Subject:
    source = saved.source("diagnose")
    if isinstance(source, Path):
        return _of_run(source, saved.annotations, progress, time_left)
    predictions, annotations = source
    content = read_annotations(annotations, watch=time_left.watch(f"{annotations} was read"))
    return _Subject(
        predictions=predictions,
        annotations=annotations,
        content=content,
        read=_read_in_time(predictions, content, time_left, saved.foreign.class_ids),
        run=None,
    )


def _of_run(
    folder: Path, annotations: Path | None, progress: Progress, time_left: TimeLeft
) -> _Subject:
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
    watch = time_left.watch("the annotations were read")
    if annotations is None:
        otherwise = "name the file to look at with --annotations"
        content = annotations_of_run(folder, facts, otherwise, watch=watch)
        content = only_images(content, frozenset(scored_images(content, facts)))
    else:
        content = read_annotations(annotations, watch=watch)
    return _Subject(
        predictions=path,
        annotations=annotations or Path(facts.annotations_path),
        content=content,
        read=_read_in_time(path, content, time_left),
        run=folder,
    )


def _read_in_time(
    path: Path, content: Mapping[str, Any], time_left: TimeLeft, classes: ClassIds = "auto"
) -> ReadResults:
    """The predictions; a look at the clock at every row, for a file may have millions."""
    watch = time_left.watch(f"{path} was read")
    watch()
    return read_loosely(path, content, classes, watch=watch)


def _as_scored(subject: _Subject, case: Case) -> tuple[str | None, tuple[str, ...]]:
    """Why ``harness score`` refuses the file, and what it assumes of ids that are not listed."""
    if subject.read.assumed or subject.run is not None:
        return _refusal(subject, case), ()
    try:
        meant = as_scored(subject.read.rows, subject.content)
    except IntegrityError as error:
        return error.message, ()
    if not meant.assumed:
        return _refusal(subject, case), ()
    other = Case(rows=rows_of(meant.rows), truth=case.truth)
    return _refusal(replace(subject, read=meant), other), meant.assumed


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


#: Draws behind the intervals.
RESAMPLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOf:
    """The first stage of the network that computes something else."""

    stage: str
    """Name of the stage."""
    differs: Literal["values", "shape", "rows"]
    """What differs: its values, its shape, or which rows there are, as of proposals and detections.
    A stage that only the network of the reference has differs in its shape.
    """
    max_absolute: float | None
    """Largest difference of values, in the unit of the stage; None where something else differs,
    or one of the values is not finite.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What differs from a reference."""

    reference: str
    """The run folder, or the file of its predictions."""
    metrics: dict[str, Difference]
    """By metric, these predictions minus the reference's; empty where one of both cannot be scored.
    """
    differing_images: int
    """Images with other predictions, beyond the last digit that programs write."""
    first_differing: int | None
    """Id of the first of them."""
    stage: StageOf | None
    """Where the network parts on that image; None where the runs cannot be made again, or none
    does."""
    notes: tuple[str, ...]
    """What was not compared, and why."""


def against(
    reference: Path,
    *,
    content: Mapping[str, Any],
    rows: Sequence[Row],
    run: Path | None,
    progress: Progress,
    classes: ClassIds = "auto",
) -> Against:
    """Compare predictions with those of a reference.

    Args:
        reference: A run folder, or a file of predictions.
        content: The annotations of both.
        rows: The predictions.
        run: The run folder that they are of; None for a file.
        progress: Where notices go.
        classes: What the category ids of a reference that is a file are.

    Raises:
        UsageError: The reference has no predictions.
        IntegrityError: They are not valid for the annotations, or a run's were damaged.
    """
    content, notes = _images_of_both(content, run, reference)
    listed = {image["id"] for image in content["images"]}
    rows = [row for row in rows if row["image_id"] in listed] if notes else rows
    theirs = read_source(reference, content, classes, listed_only=True)
    for sentence in theirs.assumed:
        progress.notice(f"note: the reference: {sentence}")
    metrics: dict[str, Difference] = {}
    try:
        own = checked_predictions([dict(row) for row in rows], content, where="the predictions")
        metrics = _metrics(content, own, theirs.rows)
    except HarnessError as error:
        notes.append(f"metrics are not compared: {error.message}")
    differing = differing_images(rows, theirs.rows)
    first = min(differing, default=None)
    stage = None
    if first is not None:
        stage, note = _stage(run, reference, first)
        notes += [note] if note else []
    return Against(
        reference=str(reference),
        metrics=metrics,
        differing_images=len(differing),
        first_differing=first,
        stage=stage,
        notes=tuple(notes),
    )


def _images_of_both(
    content: Mapping[str, Any], run: Path | None, reference: Path
) -> tuple[Mapping[str, Any], list[str]]:
    """The annotations of the images that both runs evaluated, and a note where one did fewer.

    Args:
        content: The annotations of the images that are diagnosed.
        run: The run folder of these; None for a file.
        reference: A run folder, or a file: how many images it is of is not known.
    """
    if run is None or not reference.is_dir() or run.samefile(reference):
        return content, []
    own, theirs = (read_run(folder).dataset for folder in (run, reference))
    if own.digest != theirs.digest or theirs.evaluated_images >= len(content["images"]):
        return content, []
    ids = sorted(image["id"] for image in content["images"])[: theirs.evaluated_images]
    note = f"compared on the {counted(len(ids), 'image')} that both runs evaluated"
    return only_images(dict(content), frozenset(ids)), [note]


def _metrics(
    content: Mapping[str, Any], rows: Sequence[Row], theirs: Sequence[Row]
) -> dict[str, Difference]:
    ids = sorted(image["id"] for image in content["images"])
    keys: dict[Task, str] = {"bbox": "bbox", "segm": "segmentation"}
    found: dict[str, Difference] = {}
    for task, key in keys.items():
        if not all(side and key in side[0] for side in (rows, theirs)):
            continue
        matches = [matches_by_size(content, side, task, ids) for side in (theirs, rows)]
        differences = differences_of(
            *matches, images=len(ids), resamples=RESAMPLES, seed=SEED, advance=lambda _: None
        )
        found |= {f"{task}/{name}": one for name, one in differences.metrics.items()}
    return found


def _stage(run: Path | None, reference: Path, image_id: int) -> tuple[StageOf | None, str | None]:
    """The first stage that differs, and why there is none where that is not known."""
    if run is None or not reference.is_dir():
        return None, "stages are compared where both are run folders"
    from harness.workflows.diagnose_stages import first_differing_stage

    try:
        found = first_differing_stage(run, reference, image_id)
    except HarnessError as error:
        return None, f"stages are not compared: {error.message}"
    if found is None:
        differ = _settings_that_differ(run, reference)
        because = f"; the runs differ in {', '.join(differ)}" if differ else ""
        return None, f"made again alone, image {image_id} gives the same in every stage{because}"
    if found.share is not None:
        return StageOf(stage=found.stage, differs="rows", max_absolute=None), None
    if not found.same_shape:
        return StageOf(stage=found.stage, differs="shape", max_absolute=None), None
    return StageOf(stage=found.stage, differs="values", max_absolute=found.max_absolute), None


def _settings_that_differ(run: Path, reference: Path) -> list[str]:
    """Each setting of the inference that two runs have not in common, with both values."""
    own, theirs = (read_run(folder).request["inference"] for folder in (run, reference))
    return [
        f"{name} ({own[name]}, of the reference {theirs[name]})"
        for name in sorted(own.keys() & theirs.keys())
        if own[name] != theirs[name]
    ]
