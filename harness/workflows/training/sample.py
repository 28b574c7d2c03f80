"""What weights of a training find in a fixed sample of the validation images: kept, and drawn."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import Dataset, ImageRecord
from harness.core.drawing import DrawingStyle
from harness.core.errors import HarnessError
from harness.core.run_files import PREDICTIONS
from harness.data.images import load_image
from harness.data.predictions import read_predictions
from harness.files.atomic import write_text
from harness.files.json import dumps, read
from harness.visualization.canvas import Drawn, paint
from harness.visualization.image_files import write_picture
from harness.visualization.overlays import percent
from harness.visualization.panels import GROUND, below_each_other, side_by_side
from harness.visualization.truth import predicted_objects, truth_objects
from harness.workflows.training.job import TrainingJob

Pixels = npt.NDArray[np.uint8]

Row = dict[str, Any]

#: Caption of a column → predictions by image.
Columns = Mapping[str, Mapping[int, Sequence[Row]]]

#: The sheet of all iterations, and the picture of first and best weights.
SHEET, PROGRESS = "by-iteration.jpg", "before-and-after.jpg"

#: Longest edge of a picture, px; small images are enlarged, up to so many times.
LONGEST_PX, LARGEST_SCALE = 480, 4.0

#: Iterations of the sheet, the first and the last among them.
MOST_COLUMNS = 8

#: Folder of the sample below that of the run.
FOLDER = "predictions"

#: Images of the sample.
SAMPLE = 6

_OF_AN_ITERATION = re.compile(r"iteration-[0-9]{7,18}\.json")


def sample_of(dataset: Dataset) -> tuple[ImageRecord, ...]:
    """Return up to SAMPLE images that have objects, spread evenly over the ids.

    Args:
        dataset: With its annotations; the same data give the same images.
    """
    annotated = {row["image_id"] for row in dataset.ground_truth["annotations"]}
    images = [one for one in dataset.images if one.image_id in annotated]
    count = min(SAMPLE, len(images))
    return tuple(images[position * len(images) // count] for position in range(count))


def keep_rows(
    folder: Path, iteration: int, sample: Iterable[ImageRecord], rows: Iterable[Row]
) -> None:
    """Write the predictions of the sample, so that the pictures need no others.

    Args:
        folder: Folder of the training.
        iteration: Iteration of the weights that predicted.
        sample: The images.
        rows: In COCO's results form; those of other images are left out.
    """
    ids = {one.image_id for one in sample}
    kept = [row for row in rows if row["image_id"] in ids]
    write_text(_file(folder, iteration), dumps(kept))


def kept_rows(folder: Path, dataset: Dataset) -> Mapping[int, list[Row]]:
    """Return the predictions of the sample by iteration, in the order of the training.

    Args:
        folder: Folder of the training.
        dataset: With its annotations; what does not fit them is damaged.

    Raises:
        IntegrityError: A file of an iteration holds anything else.
    """
    files = sorted((folder / FOLDER).glob("iteration-*.json"))
    return {
        int(path.stem.removeprefix("iteration-")): read_predictions(path, dataset.ground_truth)
        for path in files
        if _OF_AN_ITERATION.fullmatch(path.name)  # not the copies that file managers make
    }


def is_kept(folder: Path, iteration: int) -> bool:
    """Return whether an earlier start of the training has kept the predictions."""
    return _file(folder, iteration).exists()


def draw_sample(
    job: TrainingJob,
    folder: Path,
    iteration: int,
    rows: Callable[[], Iterable[Row]],
    notice: Callable[[str], None],
) -> None:
    """Keep what weights find in the sample, and draw it beside the ground truth.

    Nothing is done where no pictures are asked for. What cannot be drawn is no reason to end a
    training: it is a line.

    Args:
        job: The training.
        folder: Folder of the training.
        iteration: Iteration of the weights.
        rows: Returns predictions in COCO's results form.
        notice: Receives the line.
    """
    if not job.request.pictures:
        return
    sample = sample_of(job.validation)
    if not sample:
        notice(f"no pictures in {FOLDER}/: no validation image has an object")
        return
    try:
        keep_rows(folder, iteration, sample, rows())
        kept = kept_rows(folder, job.validation)
        found = {_caption(iteration): _by_image(kept[iteration])}
        name = f"iteration-{iteration:07d}.jpg"
        write_picture(folder / FOLDER / name, _sheet(job, sample, found), small=None)
        if len(kept) > 1:
            _draw_sheet(job, folder, sample, kept, best=None)
    except (HarnessError, OSError) as error:
        notice(f"no pictures of iteration {iteration} in {FOLDER}/: {error}")


def draw_progress(job: TrainingJob, folder: Path, best: int, notice: Callable[[str], None]) -> None:
    """Draw a finished training: all iterations on the sheet, and before beside the best.

    Args:
        job: The training.
        folder: Folder of the training.
        best: Iteration of the best weights.
        notice: Receives why there are no pictures.
    """
    sample = sample_of(job.validation)
    if not job.request.pictures or not sample:
        return
    try:
        kept = kept_rows(folder, job.validation)
        _draw_sheet(job, folder, sample, kept, best=best)
        both = {"before": 0, f"best, iteration {best:,}": best}
        found = {name: _by_image(kept[number]) for name, number in both.items() if number in kept}
        write_picture(folder / FOLDER / PROGRESS, _sheet(job, sample, found), small=None)
    except (HarnessError, OSError) as error:
        notice(f"no {FOLDER}/{SHEET}: {error}")


def predictions_of(evaluation: Path) -> list[Row]:
    """Return the predictions of an evaluation of the training."""
    rows: list[Row] = read(evaluation / PREDICTIONS)
    return rows


def columns_of(iterations: Sequence[int], best: int | None) -> list[int]:
    """Return the iterations of the sheet: evenly spread, first, best and last among them.

    Args:
        iterations: All that are kept, ascending.
        best: Iteration of the best weights; None where that is not known yet.
    """
    if len(iterations) <= MOST_COLUMNS:
        return list(iterations)
    step = (len(iterations) - 1) / (MOST_COLUMNS - 1)
    chosen = [iterations[round(number * step)] for number in range(MOST_COLUMNS)]
    if best is not None and best in iterations and best not in chosen:
        at_best = best
        nearest = min(range(1, MOST_COLUMNS - 1), key=lambda at: abs(chosen[at] - at_best))
        chosen[nearest] = at_best
    return chosen


def _draw_sheet(
    job: TrainingJob,
    folder: Path,
    sample: Sequence[ImageRecord],
    kept: Mapping[int, Sequence[Row]],
    *,
    best: int | None,
) -> None:
    columns = {
        _caption(number) + (", best" if number == best else ""): _by_image(kept[number])
        for number in columns_of(list(kept), best)
    }
    write_picture(folder / FOLDER / SHEET, _sheet(job, sample, columns), small=None)


def _caption(iteration: int) -> str:
    return f"iteration {iteration:,}" if iteration else "before"


def _by_image(rows: Sequence[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["image_id"]].append(row)
    return found


def _sheet(job: TrainingJob, sample: Sequence[ImageRecord], columns: Columns) -> Pixels:
    """Return a row of pictures for each image: ground truth, then a picture for each column."""
    truth: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in job.validation.ground_truth["annotations"]:
        truth[row["image_id"]].append(row)
    names = {one.category_id: one.name for one in job.validation.categories}
    style = DrawingStyle()
    width = max(round(one.width_px * _scale(one.height_px, one.width_px)) for one in sample)
    lines = []
    for record in sample:
        pixels = load_image(record, job.validation.images_dir).pixels_bgr
        objects = truth_objects(record, truth[record.image_id], names, style)
        pictures = [("ground truth", _painted(pixels, objects, width))]
        for caption, rows in columns.items():
            given = rows.get(record.image_id, ())
            shown = [row for row in given if row["score"] >= style.threshold]
            found = predicted_objects(record, shown, names, style)
            pictures.append((f"{caption}: {_count(shown, given)}", _painted(pixels, found, width)))
        lines.append(side_by_side(pictures))
    return below_each_other(lines)


def _count(shown: Sequence[Row], given: Sequence[Row]) -> str:
    """Return how many are drawn; where there is none, how sure the best one was."""
    if shown or not given:
        return f"{len(shown)} found"
    return f"0 found, surest {percent(max(row['score'] for row in given))}"


def _painted(pixels: Pixels, objects: Sequence[Drawn], width: int) -> Pixels:
    """Return the picture, as wide as all of them, so that an iteration is one column."""
    height_px, width_px = pixels.shape[:2]
    picture = paint(pixels, objects, scale=_scale(height_px, width_px), opacity=0.5)
    missing = max(width - picture.shape[1], 0)
    return np.pad(picture, ((0, 0), (0, missing), (0, 0)), constant_values=GROUND[0])


def _scale(height_px: int, width_px: int) -> float:
    return min(LONGEST_PX / max(height_px, width_px), LARGEST_SCALE)


def _file(folder: Path, iteration: int) -> Path:
    return folder / FOLDER / f"iteration-{iteration:07d}.json"
