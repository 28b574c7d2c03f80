"""What passes ``data check`` goes through every other command; what does not is an error there."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from PIL import Image

from harness.core.architecture import Architecture
from harness.core.errors import HarnessError, IntegrityError
from harness.core.progress import Silent
from harness.core.requests.data import CleanRequest, MergeRequest, SplitRequest, SubsetRequest
from harness.core.requests.inference import ScoreRequest
from harness.core.requests.pictures import ShowRequest
from harness.core.requests.reports import SavedPredictions
from harness.data.coco import read_annotations, read_dataset
from harness.data.objects import training_set
from harness.measure.masks import rle_of
from harness.measure.timing import PhaseTimer
from harness.training.augmentation import augmentation_for, draw_change
from harness.training.samples import make_sample
from harness.workflows.datasets.check import check_data
from harness.workflows.datasets.edit import clean, merge, split_file, subset_file
from harness.workflows.evaluation.score import score_saved
from harness.workflows.pictures.show import show
from harness.workflows.runs.folder import utc_now
from tests.data.odd_files import SIZES, odd_contents, plain_content

#: Files that are tried; many more at once: ODD_FILES=1000.
EXAMPLES = int(os.environ.get("ODD_FILES", "15"))

SMALL = replace(Architecture(class_count=2), short_edge_px=32, long_edge_max_px=64)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images that the files are about."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "images").mkdir()
    for name, (height, width) in SIZES.items():
        pixels = np.full((height, width, 3), 90, np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    return folder


def check(place: Path, content: Any) -> bool:
    """Whether the file passes; it fails with an error of ours or not at all."""
    (place / "odd.json").write_text(json.dumps(content), "utf-8")
    file, images = place / "odd.json", place / "images"
    try:
        for with_masks in (True, False):
            check_data(file, images, with_masks=with_masks, progress=Silent())
    except HarnessError:
        return False
    return True


def predictions_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object as a prediction."""
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    rows = []
    for number, row in enumerate(content["annotations"]):
        mask = rle_of(row.get("segmentation") or [], *sizes[row["image_id"]])
        rows.append(
            {
                "image_id": row["image_id"],
                "category_id": row["category_id"],
                "bbox": row["bbox"],
                "score": 1 / (1 + number),
                "segmentation": {"size": [mask.height_px, mask.width_px], "counts": mask.counts},
            }
        )
    return rows


def edit(place: Path) -> None:
    """Clean, split, merge and subset; what comes out is valid."""
    file, out = place / "odd.json", place / "out.json"
    split_file(SplitRequest(file=file, fractions=(0.5, 0.5), output=place / "parts"))
    merge(MergeRequest(files=(file, file), output=out))
    read_annotations(out)
    subset_file(SubsetRequest(file=file, output=out, image_count=2))
    read_annotations(out)
    clean(CleanRequest(file=file, output=out), Silent())
    read_annotations(out)


def train(place: Path) -> None:
    """Every image as a sample of a training, its masks cut out."""
    dataset = read_dataset(place / "odd.json", place / "images")
    for with_masks in (True, False):
        found = training_set(dataset, with_masks=with_masks)
        for image in found.images:
            change = draw_change(image.record, augmentation_for(SMALL), seed=1, ordinal=3)
            sample = make_sample(
                image, dataset.images_dir, SMALL, change, canvas=change.size, ordinal=3
            )
            if sample.masks is not None:
                boxes = torch.from_numpy(sample.boxes)
                sample.masks.crop(boxes, torch.arange(len(boxes)), 28)


def score_and_show(place: Path) -> None:
    """The objects as predictions: scored by both evaluators, and drawn."""
    file = place / "odd.json"
    rows = predictions_of(read_annotations(file))
    predictions = place / "predictions.json"
    predictions.write_text(json.dumps(rows), "utf-8")
    score_saved(
        ScoreRequest(
            saved=SavedPredictions(predictions=predictions, annotations=file), evaluator="both"
        ),
        command=(),
        now=utc_now(),
        stopwatch=PhaseTimer(time.perf_counter, lambda: None),
    )
    for task in ("bbox", "segm"):
        report = show(
            ShowRequest(
                annotations=file,
                images=place / "images",
                predictions=predictions,
                task=task,  # type: ignore[arg-type]
                output=place / "pages",
            ),
            progress=Silent(),
        )
        assert not report.unreadable


def test_a_plain_file_passes_everything(place: Path) -> None:
    assert check(place, plain_content())
    edit(place)
    train(place)
    score_and_show(place)


def cleaned(place: Path) -> None:
    """Cleaning takes more than is valid, and what it writes is."""
    out = place / "cleaned.json"
    out.unlink(missing_ok=True)
    with contextlib.suppress(IntegrityError):
        clean(CleanRequest(file=place / "odd.json", output=out), Silent())
    if out.exists():
        read_annotations(out)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(content=odd_contents())
def test_what_passes_the_check_passes_everything(place: Path, content: dict[str, Any]) -> None:
    passes = check(place, content)
    cleaned(place)
    if passes:
        if len(content["images"]) > 3:
            edit(place)
        train(place)
        score_and_show(place)
