"""Classes of pixels by a semantic head alone: counted while images are inferred, then scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from harness.core.dataset import ImageRecord
from harness.core.detections import Detections
from harness.core.errors import IntegrityError, RunFailedError
from harness.data.semantic import Classes, semantic_truths
from harness.measure.semantic import SemanticScores, confusion, semantic_scores
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.semantic_file import KEY, SEMANTIC_FILE, read_semantic


class Counting:
    """Counts the classes of pixels of one image after the other.

    The ground truth of an image is read in the thread that decodes the image.
    """

    def __init__(self, job: Job, image_ids: Collection[int]) -> None:
        """Begin.

        Args:
            job: The evaluation.
            image_ids: Of the images that are counted.
        """
        truth = job.dataset.panoptic
        self._sources = {} if truth is None else semantic_truths(truth, image_ids)
        self._read: dict[int, Classes] = {}

    def prepare(self, record: ImageRecord) -> None:
        """Read the ground truth of an image that is about to be inferred, if it is counted.

        Raises:
            IntegrityError: Its PNG is missing or damaged.
        """
        source = self._sources.get(record.image_id)
        if source is not None:
            self._read[record.image_id] = source.read((record.height_px, record.width_px))

    def counts_of(self, found: Detections) -> dict[str, Any]:
        """Return the members of a shard's line; none without panoptic annotations.

        Raises:
            RunFailedError: The engine did not give the classes of the pixels.
        """
        truth = self._read.pop(found.image_id, None)
        if truth is None:
            return {}
        if found.panoptic is None or found.panoptic.classes is None:
            raise RunFailedError(f"image {found.image_id}: the engine gave no classes of pixels")
        counts = confusion(truth, found.panoptic.classes)
        return {KEY: [number for row in counts for number in row]}


def semantic_of_run(
    folder: Path, image_ids: Sequence[int], repair: str, *, resamples: int
) -> SemanticScores:
    """Return the numbers of a run; none of one whose version did not count.

    Args:
        folder: The run folder.
        image_ids: Of the images that are scored.
        repair: What the user can do about a damaged file.
        resamples: Draws of the bootstrap over images; 0 for no intervals.

    Raises:
        IntegrityError: The file of the counts is missing, damaged, or lacks an image.
    """
    found = read_semantic(folder, repair)
    if found is None:
        return SemanticScores({}, {})
    counts, classes = found
    lacking = [one for one in image_ids if one not in counts]
    if lacking:
        raise IntegrityError(
            f"{folder / SEMANTIC_FILE} lacks {len(lacking)} of {len(image_ids)} images, the first "
            f"is image {lacking[0]}",
            hint=repair,
        )
    return semantic_scores([counts[one] for one in image_ids], classes, resamples=resamples)
