"""``harness show``: pictures of a data set, or of predictions beside it, worst first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import ImageRecord
from harness.core.errors import HarnessError
from harness.core.predicted import Unreadable
from harness.core.progress import Progress
from harness.core.requests.pictures import MOST_SHOWN, ShowRequest
from harness.data.images import load_image
from harness.files.atomic import disk_errors, write_text
from harness.files.environment import usable_cpus
from harness.measure.matching import FALSE_POSITIVE_KINDS, JudgedImage, judge_images
from harness.report.gallery import Card, data_gallery, gallery_page, judged_gallery
from harness.visualization.image_files import SMALL_PAIR_PX, SMALL_PX, write_picture
from harness.visualization.judged import draw_judged, painted
from harness.visualization.truth import truth_objects
from harness.workflows.evaluation.inference import ahead
from harness.workflows.pictures.show_subject import Subject, find_subject
from harness.workflows.runs.files import PAGE

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, Any]


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


def show(request: ShowRequest, *, progress: Progress) -> ShowReport:
    """Pictures and a page of what the request names.

    An image that cannot be read is reported, and the others are drawn.
    """
    subject = find_subject(request)
    for warning in subject.dataset.warnings:
        progress.notice(f"data: {warning}")
    judged = None
    if subject.predictions is not None:
        ids = subject.dataset.image_ids
        judged = judge_images(subject.content, subject.predictions, request.task, ids)
    order = _order(subject, judged, _most(request))
    drawer = _data_drawer(subject, request)
    if judged is not None:
        drawer = _judged_drawer(subject, judged, request)
    with disk_errors(subject.output):
        drawn, unreadable = _write_pictures(subject, order, drawer, progress)
        cards = _cards(drawn)
        if judged is None:
            gallery = data_gallery(subject.dataset, subject.rows, cards)
        else:
            names = _names_by_image(subject)
            gallery = judged_gallery(subject.dataset, judged, names, cards, request)
        page = gallery_page(replace(gallery, selectable=request.select))
        write_text(subject.output / PAGE, page)
    return _report(subject, judged, drawn, unreadable)


def _most(request: ShowRequest) -> int:
    """How many pictures are drawn at most; 0 for all."""
    if request.most is not None:
        return request.most
    return 0 if request.sample is not None or request.image_ids else MOST_SHOWN


def _order(subject: Subject, judged: Sequence[JudgedImage] | None, most: int) -> list[ImageRecord]:
    """The images to be drawn: the worst first, where that is known."""
    records = list(subject.dataset.images)
    if judged is not None:
        errors = {one.image_id: one.errors for one in judged}
        records.sort(key=lambda record: (-errors[record.image_id], record.image_id))
    return records[:most] if most else records


def _data_drawer(subject: Subject, request: ShowRequest) -> Callable[[ImageRecord, Pixels], Pixels]:
    rows, names = subject.rows, subject.names

    def draw(record: ImageRecord, pixels: Pixels) -> Pixels:
        own = [row for _, row in rows[record.image_id]]
        return painted(pixels, truth_objects(record, own, names, request.style), request.style)

    return draw


def _judged_drawer(
    subject: Subject, judged: Sequence[JudgedImage], request: ShowRequest
) -> Callable[[ImageRecord, Pixels], Pixels]:
    rows, names, style = subject.rows, subject.names, request.style
    predictions = subject.predictions or []
    by_image = {one.image_id: one for one in judged}

    def draw(record: ImageRecord, pixels: Pixels) -> Pixels:
        own, verdict = rows[record.image_id], by_image[record.image_id]
        return draw_judged(record, pixels, own, predictions, verdict, names, style)

    return draw


def _write_pictures(
    subject: Subject,
    records: Sequence[ImageRecord],
    draw: Callable[[ImageRecord, Pixels], Pixels],
    progress: Progress,
) -> tuple[list[ImageRecord], list[Unreadable]]:
    """The images that have a picture now, and those that could not be read."""

    def work(record: ImageRecord) -> None:
        image = load_image(record, subject.dataset.images_dir)
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


def _cards(records: Sequence[ImageRecord]) -> list[tuple[ImageRecord, Card]]:
    """Cards without facts."""
    return [
        (record, Card(picture=picture, small=small, title=record.file_name))
        for record in records
        for picture, small in [_places(record)]
    ]


def _names_by_image(subject: Subject) -> dict[int, set[str]]:
    """Names of the categories that are on an image, or were thought to be."""
    called = subject.names
    names: dict[int, set[str]] = defaultdict(set)
    for row in (*subject.content["annotations"], *(subject.predictions or ())):
        names[row["image_id"]].add(called[row["category_id"]])
    return names


def _report(
    subject: Subject,
    judged: Sequence[JudgedImage] | None,
    drawn: Sequence[ImageRecord],
    unreadable: Sequence[Unreadable],
) -> ShowReport:
    rows = subject.rows
    kinds = Counter(one.kind for image in judged or () for one in image.detections)
    by_image = {one.image_id: one for one in judged or ()}
    return ShowReport(
        page=str(subject.output / PAGE),
        images=len(subject.dataset.images),
        drawn=len(drawn),
        objects=sum(len(rows[image]) for image in subject.dataset.image_ids),
        true_positives=None if judged is None else kinds["true positive"],
        false_negatives=None if judged is None else sum(len(one.false_negatives) for one in judged),
        false_positives=None
        if judged is None
        else {kind: kinds[kind] for kind in FALSE_POSITIVE_KINDS},
        worst=tuple(
            ImageCounts(
                image_id=record.image_id,
                file_name=record.file_name,
                true_positives=by_image[record.image_id].true_positives,
                false_positives=by_image[record.image_id].false_positives,
                false_negatives=len(by_image[record.image_id].false_negatives),
            )
            for record in drawn
            if record.image_id in by_image
        ),
        unreadable=tuple(unreadable),
    )
