"""Whether an evaluation was made of the data that are there now.

Numbers of one sweep, night or training are compared with each other, so all are of the same images
and annotations, also where a command was stopped and continued. What is computed or drawn of a run
later is of the annotations, annotated maps and images that the run itself was of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.dataset import Dataset, ImageRecord
from harness.core.errors import AnotherRunError, IntegrityError
from harness.core.panoptic import PanopticTruth
from harness.core.record import DatasetFacts
from harness.core.run_files import RECORD
from harness.data.coco import read_dataset
from harness.data.panoptic import PNGS_SHA256, digest_of_pngs, read_ids
from harness.data.run_dataset import (
    changed_images,
    read_annotations_of,
    read_panoptic_of,
    require_same_images,
)
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
        AnotherRunError: The annotation file, or the file of an image, was replaced since.
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
            hint="put the original file back, or start again with another --output",
        )
    require_same_images(dataset, stamps_of(read_lines(shard_paths(folder))), notice=notice)


def annotations_of_run(
    run: Path, facts: DatasetFacts, otherwise: str, *, watch: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Read the annotations of a run, once all that is true of its images is what it was then.

    Args:
        run: Its folder.
        facts: The data set as the run's files name it.
        otherwise: What the user can do where the annotation file changed.
        watch: As of ``data.coco.read_annotations``.

    Returns:
        The parsed annotation file, valid.

    Raises:
        UsageError: It is no longer there.
        IntegrityError: It, or what is annotated of the segments, was replaced since.
    """
    content = read_annotations_of(facts, otherwise, watch=watch)
    require_same_maps_of(run, facts, scored_images(content, facts))
    return content


def scored_images(content: Mapping[str, Any], facts: DatasetFacts) -> list[int]:
    """Return the ids of the images that a run was evaluated on: the first by id.

    Args:
        content: Of its annotation file.
        facts: The data set as the run's files name it.
    """
    return sorted(image["id"] for image in content["images"])[: facts.evaluated_images]


def require_same_maps_of(run: Path, facts: DatasetFacts, image_ids: Collection[int]) -> None:
    """Compare the annotated maps of a run, where it has some, with those that it was scored by.

    Args:
        run: Its folder.
        facts: The data set as the run's files name it.
        image_ids: Of all images that it was evaluated on.

    Raises:
        IntegrityError: They, or the file that lists their segments, are others now.
    """
    if facts.panoptic is not None:
        truth = read_panoptic_of(facts.panoptic, facts.name)
        _require_same_pngs(run, truth, frozenset(image_ids))


def replaced_images(
    run: Path,
    images_dir: Path,
    records: Sequence[ImageRecord],
    *,
    notice: Callable[[str], None] | None = None,
) -> dict[int, str]:
    """Return which images are other ones now than when a run was evaluated on them.

    An image that is gone is none of them: what reads it says so.

    Args:
        run: Its folder.
        images_dir: Where its images are.
        records: Those that are looked at.
        notice: Called with a sentence where images have another time of modification alone, as
            copies have.

    Returns:
        A sentence for each, by image id.
    """
    stamps = stamps_of(read_lines(shard_paths(run)))
    changed = changed_images(records, images_dir, stamps)
    if changed.times and notice is not None:
        notice(
            f"{len(changed.times)} of {len(records)} images in {images_dir} have other times of "
            "modification than when the run was evaluated on them: they may be other images"
        )
    return {
        one.image_id: f"image {one.image_id}: {images_dir / one.file_name} was replaced since the "
        "run was evaluated on it"
        for one in changed.contents
        if (images_dir / one.file_name).exists()
    }


def _require_same_pngs(run: Path, truth: PanopticTruth, image_ids: Collection[int]) -> None:
    """Compare the annotated maps with those that a run was scored against, where it says them.

    Args:
        run: Its folder; a run without a record says nothing.
        truth: What is there now.
        image_ids: Ids of all evaluated images.

    Raises:
        IntegrityError: One or more were replaced since; one that cannot be read is named.
    """
    if not (run / RECORD).exists():
        return
    expected = read_record(run).resolved.get(PNGS_SHA256)
    if expected is None:  # of an older version
        return
    found = digest_of_pngs(truth, image_ids)
    if found != expected:
        for row in truth.rows:
            if row["image_id"] in image_ids:
                read_ids(truth.folder / row["file_name"], repair=truth.repair or None)
        raise IntegrityError(
            f"the PNGs in {truth.folder} changed since the run was scored against them:\n"
            f"  expected sha256 {expected}\n  found    sha256 {found}",
            hint=truth.repair or None,
        )
