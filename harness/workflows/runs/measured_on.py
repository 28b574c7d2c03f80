"""Whether a finished evaluation was made of the data that are there now.

Numbers of one sweep, night or training are compared with each other, so all are of the same images
and annotations, also where a command was stopped and continued.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.core.dataset import Dataset
from harness.core.errors import AnotherRunError, IntegrityError
from harness.core.panoptic import PanopticTruth
from harness.data.coco import read_dataset
from harness.data.panoptic import PNGS_SHA256, digest_of_pngs
from harness.data.proven import require_same_images
from harness.workflows.runs.files import RECORD
from harness.workflows.runs.folder import read_record
from harness.workflows.runs.shards import read_lines, shard_paths, stamps_of


def require_same_data(
    folder: Path, dataset: Dataset | None = None, *, notice: Callable[[str], None] | None = None
) -> None:
    """Refuse to go on beside a finished evaluation of other annotations or images.

    Args:
        folder: Folder of the evaluation.
        dataset: What is evaluated now; None for what is under the names that its record has.

        notice: As in ``require_same_images``.

    Raises:
        AnotherRunError: The annotation file, or the file of an image, is another one now.
        IntegrityError: The record, or the annotation file, is damaged.
        UsageError: The annotation file is no longer there.
    """
    facts = read_record(folder).dataset
    if dataset is None:
        dataset = read_dataset(Path(facts.annotations_path), Path(facts.images_dir))
    if dataset.digest != facts.digest:
        raise AnotherRunError(
            f"{folder} was evaluated on other annotations than {dataset.annotations_path}:\n"
            f"  then sha256 {facts.digest}\n  now  sha256 {dataset.digest}",
            hint="put the file of then back, or begin again in another place",
        )
    require_same_images(dataset, stamps_of(read_lines(shard_paths(folder))), notice=notice)


def require_same_pngs(run: Path, truth: PanopticTruth, image_ids: frozenset[int]) -> None:
    """Compare the annotated maps with those that a run was scored against, where it says them.

    Args:
        run: Its folder; a run without a record says nothing.
        truth: What is there now.
        image_ids: Ids of all evaluated images.

    Raises:
        IntegrityError: One or more are others now.
    """
    if not (run / RECORD).exists():
        return
    expected = read_record(run).resolved.get(PNGS_SHA256)
    if expected is None:  # of an older version
        return
    found = digest_of_pngs(truth, image_ids)
    if found != expected:
        raise IntegrityError(
            f"the PNGs in {truth.folder} changed since the run was scored against them:\n"
            f"  expected sha256 {expected}\n  found    sha256 {found}",
            hint=truth.repair or None,
        )
