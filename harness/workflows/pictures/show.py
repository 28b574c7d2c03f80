"""``harness show``: pictures of a data set, or of predictions or maps beside it, worst first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import ImageRecord
from harness.core.progress import Progress
from harness.core.requests.pictures import ShowRequest
from harness.core.results import Unreadable
from harness.core.run_files import PAGE
from harness.core.tasks import PANOPTIC
from harness.files.atomic import write_text
from harness.files.failures import disk_errors
from harness.files.toml import CONFIG, config_text
from harness.measure.matching import FALSE_POSITIVE_KINDS, JudgedImage, judge_images
from harness.report.gallery import data_gallery, gallery_page, judged_gallery
from harness.visualization.panels import draw_judged, painted
from harness.visualization.truth import truth_objects
from harness.workflows.pictures.show_maps import show_maps
from harness.workflows.pictures.show_subject import (
    ImageCounts,
    ShowReport,
    Subject,
    cards_of,
    find_subject,
    most_of,
    write_pictures,
)

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, Any]


def show(request: ShowRequest, *, progress: Progress) -> ShowReport:
    """Pictures and a page of what the request names.

    An image that cannot be read is reported, and the others are drawn.
    """
    subject = find_subject(request)
    with disk_errors(subject.output):
        write_text(subject.output / CONFIG, config_text(request, command="show"))
    if request.task == PANOPTIC:
        return show_maps(request, subject, progress)
    for warning in subject.dataset.warnings:
        progress.notice(f"data: {warning}")
    judged = None
    if subject.predictions is not None:
        ids = subject.dataset.image_ids
        judged = judge_images(subject.content, subject.predictions, request.task, ids)
    order = _order(subject, judged, most_of(request))
    drawer = _data_drawer(subject, request)
    if judged is not None:
        drawer = _judged_drawer(subject, judged, request)
    with disk_errors(subject.output):
        drawn, unreadable = write_pictures(subject, order, drawer, progress)
        cards = cards_of(drawn)
        if judged is None:
            gallery = data_gallery(subject.dataset, subject.rows, cards)
        else:
            names = _names_by_image(subject)
            gallery = judged_gallery(subject.dataset, judged, names, cards, request)
        page = gallery_page(replace(gallery, selectable=request.select))
        write_text(subject.output / PAGE, page)
    return _report(subject, judged, drawn, unreadable)


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
        return draw_judged(record, pixels, own, predictions, verdict, names=names, style=style)

    return draw


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
