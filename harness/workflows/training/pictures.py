"""A fixed sample of the validation images, drawn at every evaluation of a training."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import Dataset, ImageRecord
from harness.core.drawing import DrawingStyle
from harness.data.images import load_image
from harness.visualization.canvas import Drawn, paint
from harness.visualization.image_files import write_picture
from harness.visualization.panels import below_each_other, side_by_side
from harness.visualization.truth import predicted_objects, truth_objects
from harness.workflows.runs.files import PREDICTIONS
from harness.workflows.training.job import TrainingJob

Pixels = npt.NDArray[np.uint8]
Rows = Mapping[int, Sequence[Mapping[str, Any]]]

#: Folder of the pictures below that of the run, and the picture of first and best weights.
FOLDER, PROGRESS = "predictions", "before-and-after.jpg"

#: Images of the sample, and the longest edge of each, px.
SAMPLE, LONGEST_PX = 6, 480


def sample_of(dataset: Dataset) -> list[ImageRecord]:
    """Return up to SAMPLE images that have objects, spread evenly over the ids."""
    annotated = {row["image_id"] for row in dataset.ground_truth["annotations"]}
    images = [one for one in dataset.images if one.image_id in annotated]
    count = min(SAMPLE, len(images))
    return [images[position * len(images) // count] for position in range(count)]


def draw_predictions(job: TrainingJob, evaluation: Path, folder: Path, iteration: int) -> None:
    """Write the sample's ground truth beside what was just predicted.

    Args:
        job: The training.
        evaluation: Folder of the evaluation.
        folder: Of the training.
        iteration: Names the picture.
    """
    sample = sample_of(job.validation)
    if not sample:
        return
    found = {f"iteration {iteration:,}": _predictions(evaluation, sample)}
    name = f"iteration-{iteration:07d}.jpg"
    write_picture(folder / FOLDER / name, _sheet(job, sample, found), small=None)


def draw_progress(job: TrainingJob, evaluations: Mapping[str, Path], folder: Path) -> None:
    """Write the sample's ground truth beside the predictions of several evaluations.

    Args:
        job: The training.
        evaluations: Caption → folder of the evaluation, in the order of the columns.
        folder: Of the training.
    """
    sample = sample_of(job.validation)
    if not sample:
        return
    found = {caption: _predictions(path, sample) for caption, path in evaluations.items()}
    write_picture(folder / FOLDER / PROGRESS, _sheet(job, sample, found), small=None)


def _predictions(evaluation: Path, sample: Sequence[ImageRecord]) -> Rows:
    """Return the predicted rows of the images of the sample, by image id."""
    ids = {one.image_id for one in sample}
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in json.loads((evaluation / PREDICTIONS).read_text(encoding="utf-8")):
        if row["image_id"] in ids:
            rows[row["image_id"]].append(row)
    return rows


def _sheet(job: TrainingJob, sample: Sequence[ImageRecord], columns: Mapping[str, Rows]) -> Pixels:
    """Return a row of pictures for each image: ground truth, then a picture for each column."""
    truth: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in job.validation.ground_truth["annotations"]:
        truth[row["image_id"]].append(row)
    names = {one.category_id: one.name for one in job.validation.categories}
    style = DrawingStyle()
    lines = []
    for record in sample:
        pixels = load_image(record, job.validation.images_dir).pixels_bgr
        pictures = [
            (
                "ground truth",
                _painted(pixels, truth_objects(record, truth[record.image_id], names, style)),
            )
        ]
        for caption, rows in columns.items():
            shown = [
                row for row in rows.get(record.image_id, ()) if row["score"] >= style.threshold
            ]
            found = predicted_objects(record, shown, names, style)
            pictures.append((f"{caption}: {len(shown)} found", _painted(pixels, found)))
        lines.append(side_by_side(pictures))
    return below_each_other(lines)


def _painted(pixels: Pixels, objects: Sequence[Drawn]) -> Pixels:
    return paint(pixels, objects, scale=min(1.0, LONGEST_PX / max(pixels.shape[:2])), opacity=0.5)
