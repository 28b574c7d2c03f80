"""What weights of a training find in a fixed sample of the validation images, kept by iteration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.dataset import Dataset, ImageRecord
from harness.data.predictions import read_predictions
from harness.files.atomic import write_text
from harness.files.json import dumps

#: Folder of the sample below that of the run.
FOLDER = "predictions"

#: Images of the sample.
SAMPLE = 6

Row = dict[str, Any]

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
        folder: Of the training.
        iteration: Of the weights that predicted.
        sample: The images.
        rows: In COCO's results form; those of other images are left out.
    """
    ids = {one.image_id for one in sample}
    kept = [row for row in rows if row["image_id"] in ids]
    write_text(_file(folder, iteration), dumps(kept))


def kept_rows(folder: Path, dataset: Dataset) -> Mapping[int, list[Row]]:
    """Return the predictions of the sample by iteration, in the order of the training.

    Args:
        folder: Of the training.
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


def _file(folder: Path, iteration: int) -> Path:
    return folder / FOLDER / f"iteration-{iteration:07d}.json"
