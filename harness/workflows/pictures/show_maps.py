"""``harness show`` of maps of segments: those of a run beside the true ones, worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.dataset import ImageRecord
from harness.core.drawing import DrawingStyle
from harness.core.errors import UsageError
from harness.core.panoptic import PanopticTruth
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.requests.pictures import ShowRequest
from harness.core.run_files import PAGE
from harness.data.panoptic import read_ids
from harness.data.run_dataset import read_panoptic_of
from harness.files.atomic import write_text
from harness.files.environment import usable_cpus
from harness.files.failures import disk_errors
from harness.measure.panoptic import Counts, Tally
from harness.report.gallery import Gallery, gallery_page
from harness.visualization.overlays import ShownSegment, segment_objects
from harness.visualization.panels import painted, side_by_side
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
    most_of,
    write_pictures,
)
from harness.workflows.runs.files import read_run

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maps:
    """The maps of a run and the true ones."""

    truth: PanopticTruth
    """The true ones."""

    files: PanopticFiles
    """Those of the run."""

    known: Mapping[int, Row]
    """Image id → its true segments."""

    found: Mapping[int, Row]
    """Image id → its predicted segments."""

    def counts_of(self, record: ImageRecord) -> Counts:
        """Return how many segments of an image are right, wrong and missed."""
        number, size = record.image_id, (record.height_px, record.width_px)
        known, found = self.known[number], self.found[number]
        return _summed(matched_maps(self.truth, known, self.files, found, size)[0])


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
    maps, records = _maps_of(request, subject), subject.dataset.images
    with ThreadPoolExecutor(usable_cpus()) as pool:
        counts = dict(
            zip(subject.dataset.image_ids, pool.map(maps.counts_of, records), strict=True)
        )
    order = sorted(records, key=lambda one: (-_errors(counts[one.image_id]), one.image_id))
    most, drawer = most_of(request), _drawer(maps, request.style)
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


def _maps_of(request: ShowRequest, subject: Subject) -> _Maps:
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
    truth = read_panoptic_of(dataset.panoptic, dataset.name)
    files = files_of_run(request.run)
    return _Maps(
        truth=truth,
        files=files,
        known={row["image_id"]: row for row in truth.rows},
        found=predicted_rows(files, truth, subject.dataset.image_ids),
    )


def _summed(tally: Tally) -> Counts:
    """Return the counts of all categories of an image together."""
    return Counts(*map(sum, zip(*tally.values(), strict=True)))


def _errors(one: Counts) -> int:
    return one.false_positives + one.false_negatives


def _drawer(maps: _Maps, style: DrawingStyle) -> Callable[[ImageRecord, Pixels], Pixels]:
    truth = maps.truth
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
            ("ground truth", truth.folder, maps.known, truth.repair),
            ("predictions", maps.files.folder, maps.found, maps.files.repair),
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
