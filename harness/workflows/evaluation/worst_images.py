"""The images of a run with most errors, drawn for its page."""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.dataset import ImageRecord
from harness.core.drawing import DEFAULT_STYLE
from harness.core.errors import HarnessError
from harness.core.printable import counted
from harness.core.record import RunRecord
from harness.data.edit.splitting import only_images
from harness.data.images import load_image
from harness.files.environment import usable_cpus
from harness.files.failures import disk_errors
from harness.measure.analysis import TaskAnalysis
from harness.measure.matching import judge_images
from harness.measure.operating import ImageErrors
from harness.report.run_page import WorstImage
from harness.visualization.image_files import SMALL_PAIR_PX, write_picture
from harness.visualization.panels import draw_judged
from harness.workflows.runs.same_data import replaced_images

Row = Mapping[str, Any]

#: Images that are drawn, the worst.
SHOWN_IMAGES = 12

#: Score from which detections are drawn and counted as errors, as ``harness show`` has it.
THRESHOLD = DEFAULT_STYLE.threshold

#: Folder of drawings of ``harness show``, below a run's.
PICTURES, SMALL = "show/pictures", "show/small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyzed:
    """A finished run, and what was found out about its predictions."""

    folder: Path
    """Of the run."""
    page: Path
    """Where its page is to be, which links to the drawings."""
    record: RunRecord
    """Of the run."""
    annotations: Mapping[str, Any]
    """The content of the annotation file."""
    predictions: Sequence[Row]
    """Valid COCO results."""
    tasks: tuple[TaskAnalysis, ...]
    """Boxes, masks, or both; the first is drawn."""
    finished_before: bool = False
    """Whether its images may have been replaced since."""

    @property
    def names(self) -> dict[int, str]:
        """Names by category id."""
        return {one["id"]: one["name"] for one in self.annotations["categories"]}


def worst_images(run: Analyzed) -> tuple[tuple[WorstImage, ...], tuple[str, ...]]:
    """Draw the images with most errors.

    Returns:
        The images, worst first, and sentences about them.
    """
    if not run.tasks:
        return (), ("There is nothing to draw.",)
    task = run.tasks[0]
    worst = [one for one in task.images if one.errors][:SHOWN_IMAGES]
    if not worst:
        return (), (f"No image has an error among detections that score {THRESHOLD:g} or more.",)
    painter = _Painter(run, worst)
    with ThreadPoolExecutor(usable_cpus()) as pool:
        drawn = list(pool.map(painter.draw, worst))
    images = tuple(one for one in drawn if isinstance(one, WorstImage))
    faults = [one for one in drawn if isinstance(one, str)]
    notes = [
        f"{counted(len(images), 'image')} with most errors, of {len(task.images):,}; detections "
        f"that score at least {THRESHOLD:g}, matched at an IoU of 0.5."
    ] * bool(images)
    notes += [f"{doubt}." for doubt in painter.doubts]
    if faults:
        notes.append(
            f"{len(faults)} of the worst images could not be drawn; the first: {faults[0]}."
        )
    return images, tuple(notes)


class _Painter:
    """Draws the worst images of a run, each once, as ``harness show`` would."""

    def __init__(self, run: Analyzed, worst: Sequence[ImageErrors]) -> None:
        ids = [one.image_id for one in worst]
        wanted, content = frozenset(ids), run.annotations
        self._folder, self._page = run.folder, run.page
        self._images_dir = Path(run.record.dataset.images_dir)
        self._names = run.names
        self._records = {
            one["id"]: ImageRecord(one["id"], one["file_name"], one["height"], one["width"])
            for one in content["images"]
            if one["id"] in wanted
        }
        #: Sentences about images that may be other ones than were inferred.
        self.doubts: list[str] = []
        self._replaced = self._replaced_since() if run.finished_before else {}
        own = only_images(dict(content), wanted)
        self._rows: dict[int, list[tuple[int, Row]]] = defaultdict(list)
        for position, row in enumerate(own["annotations"]):
            self._rows[row["image_id"]].append((position, row))
        self._predictions = [
            row
            for row in run.predictions
            if row["image_id"] in wanted and row["score"] >= THRESHOLD
        ]
        judged = judge_images(own, self._predictions, run.tasks[0].task, ids)
        self._judged = {one.image_id: one for one in judged}

    def _replaced_since(self) -> dict[int, str]:
        records = list(self._records.values())
        doubt = self.doubts.append
        return replaced_images(self._folder, self._images_dir, records, notice=doubt)

    def draw(self, errors: ImageErrors) -> WorstImage | str:
        """The image with its drawing written; or why there is none."""
        number = errors.image_id
        if number in self._replaced:
            return self._replaced[number]
        record = self._records[number]
        picture, small = (self._folder / name / f"{number}.jpg" for name in (PICTURES, SMALL))
        try:
            pixels = load_image(record, self._images_dir).pixels_bgr
            drawn = draw_judged(
                record,
                pixels,
                self._rows[number],
                self._predictions,
                self._judged[number],
                names=self._names,
                style=DEFAULT_STYLE,
            )
            with disk_errors(self._folder):
                write_picture(picture, drawn, small=small, small_px=SMALL_PAIR_PX)
                content = base64.b64encode(small.read_bytes()).decode("ascii")
        except HarnessError as error:
            return error.message
        return WorstImage(
            picture=os.path.relpath(picture, self._page.parent),
            thumbnail=f"data:image/jpeg;base64,{content}",
            title=record.file_name,
            facts=(
                f"{counted(errors.false_negatives, 'false negative')}, "
                f"{counted(errors.false_positives, 'false positive')}, "
                f"{counted(errors.true_positives, 'true positive')}; image {number}"
            ),
        )
