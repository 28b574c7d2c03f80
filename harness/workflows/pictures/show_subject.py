"""What ``harness show`` is to show, and what it leaves: pictures on disk, the cards of its page.

Shown are images, their annotations, and predictions if there are any.
"""

from __future__ import annotations

import random
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import Dataset, ImageRecord
from harness.core.errors import HarnessError, IntegrityError, UsageError
from harness.core.progress import Progress
from harness.core.requests.pictures import MOST_SHOWN, ShowRequest
from harness.core.results import Unreadable
from harness.core.run_files import EVALUATIONS, PAGE, PREDICT, PREDICTIONS, SHARDS
from harness.core.tasks import PANOPTIC, TASKS, scorable_tasks
from harness.data.coco import dataset_of, read_annotations
from harness.data.images import load_image
from harness.data.predictions import checked_predictions, read_predictions
from harness.files.environment import usable_cpus
from harness.files.layout import results_folder
from harness.report.gallery import Card
from harness.visualization.image_files import SMALL_PAIR_PX, SMALL_PX, write_picture
from harness.workflows.evaluation.inference import ahead
from harness.workflows.runs.checksums import Line
from harness.workflows.runs.files import read_run
from harness.workflows.runs.folder import require_own_predictions
from harness.workflows.runs.results_files import read_results
from harness.workflows.runs.same_data import annotations_of_run, replaced_images
from harness.workflows.runs.shards import read_lines, shard_paths
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock

Row = dict[str, Any]

#: Below a run's folder.
SHOWN = "show"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The data that is drawn."""

    dataset: Dataset
    """Data set with the chosen images."""

    content: dict[str, Any]
    """The whole annotation file."""

    predictions: list[Row] | None
    """Rows of these images with a sufficient score; None when only the data is drawn."""

    output: Path
    """Folder of the page."""

    run: Path | None = None
    """The run whose images they are; None for files."""

    @property
    def names(self) -> dict[int, str]:
        """Category names by id."""
        return {one.category_id: one.name for one in self.dataset.categories}

    @property
    def rows(self) -> dict[int, list[tuple[int, Row]]]:
        """Annotations with their positions, by image id."""
        by_image: dict[int, list[tuple[int, Row]]] = defaultdict(list)
        for position, row in enumerate(self.content["annotations"]):
            by_image[row["image_id"]].append((position, row))
        return by_image


def find_subject(request: ShowRequest) -> Subject:
    """Read and check what the request names.

    Raises:
        UsageError: The arguments are invalid.
    """
    if request.run is not None:
        if request.annotations or request.images or request.predictions:
            raise UsageError("give a run folder, or --annotations with --images, not both")
        request.foreign.require_none()
        subject = _of_run(request.run)
    else:
        subject = _of_files(request)
    chosen = _chosen(subject.dataset.images, request)
    ids = {record.image_id for record in chosen}
    predictions = subject.predictions
    if predictions is not None:
        predictions = [
            row
            for row in predictions
            if row["image_id"] in ids and row["score"] >= request.style.threshold
        ]
        _require_task(predictions, request)
    return replace(
        subject,
        dataset=replace(subject.dataset, images=tuple(chosen)),
        predictions=predictions,
        output=request.output or subject.output,
    )


def _of_run(folder: Path) -> Subject:
    """A run's images, as far as it has come."""
    run = read_run(folder)
    facts = run.dataset
    if (folder / PREDICT).exists() or not facts.annotations_path:
        raise UsageError(
            f"{folder} holds predictions on pictures without ground truth",
            hint=f"they are drawn already: {folder / PAGE}",
        )
    content = annotations_of_run(
        folder,
        facts,
        "show it against another: --annotations FILE --images FOLDER --predictions "
        + shlex.quote(str(folder / PREDICTIONS)),
    )
    if _proposes(run.request):
        content = without_classes(content)
    dataset = dataset_of(
        content, Path(facts.annotations_path), Path(facts.images_dir), digest=facts.digest
    )
    images = dataset.images[: facts.evaluated_images]
    if (folder / PREDICTIONS).exists():
        unknown = require_own_predictions(folder)
        if unknown is not None:
            dataset = replace(dataset, warnings=(*dataset.warnings, unknown))
        predictions = read_predictions(folder / PREDICTIONS, content)
    else:
        lines = _finished_lines(folder)
        if not lines:
            inside = folder / EVALUATIONS
            raise UsageError(
                f"{folder} holds no predictions",
                hint=f"a training has its evaluations in {inside}"
                if inside.is_dir()
                else "they are made by: harness eval",
            )
        finished = {line["image_id"] for line in lines}
        images = tuple(record for record in images if record.image_id in finished)
        rows = [
            {"image_id": line["image_id"], **row} for line in lines for row in line["predictions"]
        ]
        predictions = checked_predictions(rows, content, where=str(folder / SHARDS))
    return Subject(
        dataset=replace(dataset, name=facts.name, images=images),
        content=content,
        predictions=predictions,
        output=folder / SHOWN,
        run=folder,
    )


def _proposes(request: Mapping[str, Any]) -> bool:
    """Whether a run is of a network that only proposes regions."""
    entry = find_model(read_lock(), request["inference"]["model"])
    return architecture_of(entry.architecture).detector == "rpn"


def without_classes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations whose objects are all of one class, as proposals are.

    Args:
        content: Content of an annotation file; proposals have the first of its categories.
    """
    first = min(one["id"] for one in content["categories"])
    rows = [{**row, "category_id": first} for row in content["annotations"]]
    return {**content, "annotations": rows, "categories": [{"id": first, "name": "object"}]}


def _finished_lines(folder: Path) -> list[Line]:
    """Read the shards of an unfinished run; IntegrityError where one is damaged."""
    damage: list[str] = []
    lines = read_lines(shard_paths(folder), notice=damage.append)
    if damage:
        raise IntegrityError("\n  ".join(damage), hint="continue the run with --resume")
    return lines


def _of_files(request: ShowRequest) -> Subject:
    if request.annotations is None or request.images is None:
        raise UsageError(
            "nothing to show",
            hint="give a run folder, or --annotations with --images (and --predictions)",
        )
    if not request.images.is_dir():
        raise UsageError(f"no such folder of images: {request.images}")
    content = read_annotations(request.annotations)
    predictions: list[Row] | None = None
    assumed: tuple[str, ...] = ()
    if request.predictions is not None:
        found = read_results(request.predictions, content, request.foreign.class_ids)
        predictions, assumed = found.rows, found.assumed
    dataset = dataset_of(content, request.annotations, request.images)
    dataset = replace(dataset, warnings=(*dataset.warnings, *assumed))
    output = request.output or results_folder() / "pictures" / dataset.name
    return Subject(dataset=dataset, content=content, predictions=predictions, output=output)


def _chosen(records: Sequence[ImageRecord], request: ShowRequest) -> list[ImageRecord]:
    """The images that are asked for, by id."""
    for option, value, least in (("sample", request.sample, 1), ("most", request.most, 0)):
        if value is not None and value < least:
            raise UsageError(f"--{option} must be at least {least}, got {value}")
    if request.image_ids:
        known = {record.image_id: record for record in records}
        unknown = [number for number in request.image_ids if number not in known]
        if unknown:
            raise UsageError(f"there is no image {unknown[0]} among the {len(known)} there are")
        return [known[number] for number in sorted(set(request.image_ids))]
    if request.sample is None or request.sample >= len(records):
        return list(records)
    drawn = random.Random(request.seed).sample(list(records), request.sample)
    return sorted(drawn, key=lambda record: record.image_id)


def most_of(request: ShowRequest) -> int:
    """Return how many pictures are drawn at most; 0 for all."""
    if request.most is not None:
        return request.most
    return 0 if request.sample is not None or request.image_ids else MOST_SHOWN


def _require_task(predictions: Sequence[Row], request: ShowRequest) -> None:
    if request.task == PANOPTIC:  # maps are in files of their own
        return
    facts = TASKS[request.task]
    if not all(facts.key in row for row in predictions):
        others = " or ".join(scorable_tasks(predictions[0]))
        raise UsageError(f"the predictions have no {facts.plural}", hint=f"try: --task {others}")


Pixels = npt.NDArray[np.uint8]


def write_pictures(
    subject: Subject,
    records: Sequence[ImageRecord],
    draw: Callable[[ImageRecord, Pixels], Pixels],
    progress: Progress,
) -> tuple[list[ImageRecord], list[Unreadable]]:
    """Draw images in threads: those that have a picture now, and those that could not be read.

    Args:
        subject: Where the images are, and where the pictures go.
        records: The images.
        draw: Returns the picture of an image's pixels.
        progress: Receives progress.
    """
    folder, replaced = subject.dataset.images_dir, {}
    if subject.run is not None:
        replaced = replaced_images(subject.run, folder, records, notice=progress.notice)

    def work(record: ImageRecord) -> None:
        if record.image_id in replaced:
            raise IntegrityError(replaced[record.image_id])
        image = load_image(record, folder)
        picture, small = _places(record)
        write_picture(
            subject.output / picture,
            draw(record, image.pixels_bgr),
            small=subject.output / small,
            small_px=SMALL_PX if subject.predictions is None else SMALL_PAIR_PX,
        )

    drawn, unreadable = [], []
    with (
        closing(ahead(records, work, size=1, loaders=usable_cpus())) as batches,
        progress.task("draw", total=len(records), unit="img") as advance,
    ):
        for [(record, future)] in batches:
            try:
                future.result()
                drawn.append(record)
            except HarnessError as error:
                unreadable.append(Unreadable(file=record.file_name, reason=error.message))
                progress.notice(f"skipped: {error.message}")
            advance(1)
    return drawn, unreadable


def _places(record: ImageRecord) -> tuple[str, str]:
    """Picture and small picture, relative to the page."""
    return f"pictures/{record.image_id}.jpg", f"small/{record.image_id}.jpg"


def cards_of(records: Sequence[ImageRecord]) -> list[tuple[ImageRecord, Card]]:
    """Cards without facts."""
    return [
        (record, Card(picture=picture, small=small, title=record.file_name))
        for record in records
        for picture, small in [_places(record)]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCounts:
    """One image of a run, and how many of its detections and objects are which."""

    image_id: int
    """COCO's id."""
    file_name: str
    """Relative to the folder of images."""
    true_positives: int
    """Detections of an object."""
    false_positives: int
    """Detections of none."""
    false_negatives: int
    """Objects without a detection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowReport:
    """What was shown. Counts are of all images that were read, None without predictions."""

    page: str
    """The HTML page."""
    images: int
    """How many were read."""
    drawn: int
    """How many have a picture."""
    objects: int
    """Annotations of these images."""
    true_positives: int | None
    """Detections of an object."""
    false_negatives: int | None
    """Objects without a detection."""
    false_positives: dict[str, int] | None
    """Detections of none, by kind (``measure.matching.Kind``)."""
    worst: tuple[ImageCounts, ...]
    """The drawn images, most errors first."""
    unreadable: tuple[Unreadable, ...]
    """Images that could not be read, and why."""
