"""Predictions beside those of a reference: where they part, and by how much."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.core.tasks import Task
from harness.data.predictions import checked_predictions
from harness.measure.bootstrap import SEED, Difference, differences_of
from harness.measure.resampling import matches_by_size
from harness.workflows.runs.results_files import read_source

Row = Mapping[str, Any]

#: Draws behind the intervals.
RESAMPLES = 200

#: Digits that programs write of coordinates and scores; what differs less is the same.
COORDINATE_DIGITS, SCORE_DIGITS = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOf:
    """The first stage of the network that computes something else."""

    stage: str
    """Name of the stage."""
    max_absolute: float | None
    """Largest difference there, in the unit of the stage; None where it has another shape."""


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
) -> Against:
    """Compare predictions with those of a reference.

    Args:
        reference: A run folder, or a file of predictions.
        content: The annotations of both.
        rows: The predictions.
        run: The run folder that they are of; None for a file.
        progress: Where notices go.

    Raises:
        UsageError: The reference has no predictions.
        IntegrityError: They are not valid for the annotations, or a run's were damaged.
    """
    theirs = read_source(reference, content)
    for sentence in theirs.assumed:
        progress.notice(f"note: the reference: {sentence}")
    notes = []
    metrics: dict[str, Difference] = {}
    try:
        own = checked_predictions([dict(row) for row in rows], content, where="the predictions")
        metrics = _metrics(content, own, theirs.rows)
    except HarnessError as error:
        notes.append(f"metrics are not compared: {error.message}")
    differing = _differing(rows, theirs.rows)
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


def _differing(rows: Sequence[Row], theirs: Sequence[Row]) -> set[int]:
    """Ids of the images whose predictions are not the same."""
    sides = [_by_image(one) for one in (rows, theirs)]
    return {
        image
        for image in sides[0].keys() | sides[1].keys()
        if sides[0].get(image) != sides[1].get(image)
    }


def _by_image(rows: Sequence[Row]) -> dict[int, list[Any]]:
    images: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        box = tuple(round(side, COORDINATE_DIGITS) for side in row.get("bbox", ()))
        mask = row.get("segmentation")
        shape = None if mask is None else (*mask["size"], mask["counts"])
        images[row["image_id"]].append(
            (round(row["score"], SCORE_DIGITS), row["category_id"], box, shape)
        )
    return {image: sorted(found, key=repr) for image, found in images.items()}


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
        return None, f"made again, image {image_id} gives the same in every stage"
    largest = found[1] if math.isfinite(found[1]) else None
    return StageOf(stage=found[0], max_absolute=largest), None
