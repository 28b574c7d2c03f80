"""``harness show``: pictures of a data set, or of predictions or maps beside it, worst first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.core.errors import UsageError
from harness.core.panoptic import PanopticTruth
from harness.core.predicted import Unreadable
from harness.core.progress import Progress
from harness.core.requests.pictures import MOST_SHOWN, ShowRequest
from harness.core.tasks import PANOPTIC
from harness.data.panoptic import read_ids
from harness.data.proven import read_panoptic_of
from harness.files.atomic import write_text
from harness.files.environment import usable_cpus
from harness.files.failures import disk_errors
from harness.measure.matching import FALSE_POSITIVE_KINDS, JudgedImage, judge_images
from harness.measure.panoptic import Counts, Tally
from harness.report.gallery import Gallery, counted, data_gallery, gallery_page, judged_gallery
from harness.visualization.overlays import ShownSegment, segment_objects
from harness.visualization.panels import draw_judged, painted, side_by_side
from harness.visualization.truth import truth_objects
from harness.workflows.evaluation.panoptic import (
    PanopticFiles,
    files_of_run,
    matched_maps,
    predicted_rows,
)
from harness.workflows.pictures.show_subject import (
    ImageCounts,
    ShowReport,
    Subject,
    cards_of,
    find_subject,
    write_pictures,
)
from harness.workflows.runs.files import PAGE, read_run

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, Any]


def show(request: ShowRequest, *, progress: Progress) -> ShowReport:
    """Pictures and a page of what the request names.

    An image that cannot be read is reported, and the others are drawn.
    """
    subject = find_subject(request)
    if request.task == PANOPTIC:
        return show_maps(request, subject, progress)
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


def show_maps(request: ShowRequest, subject: Subject, progress: Progress) -> ShowReport:
    """Draw the maps of a finished run beside the true ones, and write the page.

    Args:
        request: What is to be shown.
        subject: The images of its run.
        progress: Receives progress.

    Raises:
        UsageError: There is no finished run with maps.
        IntegrityError: A file was damaged or replaced since.
    """
    truth, files = _maps_of(request)
    found = predicted_rows(files, truth, subject.dataset.image_ids)
    known = {row["image_id"]: row for row in truth.rows}
    records = subject.dataset.images

    def count(record: ImageRecord) -> Counts:
        number, size = record.image_id, (record.height_px, record.width_px)
        return _summed(matched_maps(truth, known[number], files, found[number], size)[0])

    with ThreadPoolExecutor(usable_cpus()) as pool:
        counts = dict(zip(subject.dataset.image_ids, pool.map(count, records), strict=True))
    order = sorted(records, key=lambda one: (-_errors(counts[one.image_id]), one.image_id))
    most = _most(request)
    drawer = _drawer(truth, files, found, known, request.style)
    with disk_errors(subject.output):
        drawn, unreadable = write_pictures(subject, order[: most or None], drawer, progress)
        page = gallery_page(_gallery(subject, drawn, counts, request))
        write_text(subject.output / PAGE, page)
    return ShowReport(
        page=str(subject.output / PAGE),
        images=len(records),
        drawn=len(drawn),
        objects=sum(one.true_positives + one.false_negatives for one in counts.values()),
        true_positives=sum(one.true_positives for one in counts.values()),
        false_negatives=sum(one.false_negatives for one in counts.values()),
        false_positives={"segment": sum(one.false_positives for one in counts.values())},
        worst=tuple(_image_counts(record, counts[record.image_id]) for record in drawn),
        unreadable=tuple(unreadable),
    )


def _maps_of(request: ShowRequest) -> tuple[PanopticTruth, PanopticFiles]:
    """Return what is true, and what a run predicted."""
    if request.run is None:
        raise UsageError(
            "maps of segments are shown of a run", hint="give the run folder: harness show RUN"
        )
    dataset = read_run(request.run).dataset
    if dataset.panoptic is None:
        raise UsageError(
            f"{request.run} holds no maps of segments",
            hint="they are made by the models of: harness models panoptic; others: --task bbox",
        )
    return read_panoptic_of(dataset.panoptic, dataset.name), files_of_run(request.run)


def _summed(tally: Tally) -> Counts:
    """Return the counts of all categories of an image together."""
    return Counts(*map(sum, zip(*tally.values(), strict=True)))


def _errors(one: Counts) -> int:
    return one.false_positives + one.false_negatives


def _drawer(
    truth: PanopticTruth,
    files: PanopticFiles,
    found: Mapping[int, Row],
    known: Mapping[int, Row],
    style: DrawingStyle,
) -> Callable[[ImageRecord, Pixels], Pixels]:
    categories = (*truth.things, *truth.stuff)
    names = {one.category_id: one.name for one in categories}
    places = {one.category_id: place for place, one in enumerate(categories)}
    things = {one.category_id for one in truth.things}

    def shown(row: Row) -> list[ShownSegment]:
        return [
            ShownSegment(
                number=one["id"],
                is_thing=one["category_id"] in things,
                class_number=places[one["category_id"]],
                text=names[one["category_id"]] + (" (crowd)" if one.get("iscrowd") else ""),
            )
            for one in row["segments_info"]
        ]

    def draw(record: ImageRecord, pixels: Pixels) -> Pixels:
        size, pictures = (record.height_px, record.width_px), []
        for caption, folder, rows, repair in (
            ("ground truth", truth.folder, known, truth.repair),
            ("predictions", files.folder, found, files.repair),
        ):
            row = rows[record.image_id]
            ids = read_ids(folder / row["file_name"], size, repair=repair)
            pictures.append(
                (caption, painted(pixels, segment_objects(ids, shown(row), style), style))
            )
        return side_by_side(pictures)

    return draw


def _gallery(
    subject: Subject,
    drawn: Sequence[ImageRecord],
    counts: Mapping[int, Counts],
    request: ShowRequest,
) -> Gallery:
    cards = []
    for record, card in cards_of(drawn):
        one = counts[record.image_id]
        facts = (
            counted(one.false_negatives, "false negative"),
            counted(one.false_positives, "false positive"),
            counted(one.true_positives, "true positive"),
            f"image {record.image_id}",
        )
        keys = {
            "errors": _errors(one),
            "false_negatives": one.false_negatives,
            "false_positives": one.false_positives,
            "order": -record.image_id,
        }
        cards.append(replace(card, facts=facts, keys=keys))
    return Gallery(
        title=f"{subject.dataset.name}: maps of segments beside the true ones",
        lead=(
            "A predicted segment is a true positive where one of its category overlaps it by an "
            "IoU of more than 0.5.",
            f"{counted(len(drawn), 'image')} drawn, the worst first.",
        ),
        cards=tuple(cards),
        orders=(
            ("errors", "most errors first"),
            ("false_negatives", "most false negatives first"),
            ("false_positives", "most false positives first"),
            ("order", "by id"),
        ),
        wide=True,
        selectable=request.select,
    )


def _image_counts(record: ImageRecord, one: Counts) -> ImageCounts:
    return ImageCounts(
        image_id=record.image_id,
        file_name=record.file_name,
        true_positives=one.true_positives,
        false_positives=one.false_positives,
        false_negatives=one.false_negatives,
    )
