"""Pictures of ``harness show`` on disk, and the cards of its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt

from harness.core.dataset import ImageRecord
from harness.core.errors import HarnessError
from harness.core.predicted import Unreadable
from harness.core.progress import Progress
from harness.data.images import load_image
from harness.files.environment import usable_cpus
from harness.report.gallery import Card
from harness.visualization.image_files import SMALL_PAIR_PX, SMALL_PX, write_picture
from harness.workflows.evaluation.inference import ahead
from harness.workflows.pictures.show_subject import Subject

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


def cards_of(records: Sequence[ImageRecord]) -> list[tuple[ImageRecord, Card]]:
    """Cards without facts."""
    return [
        (record, Card(picture=picture, small=small, title=record.file_name))
        for record in records
        for picture, small in [_places(record)]
    ]
