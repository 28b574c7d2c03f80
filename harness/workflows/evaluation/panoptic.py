"""Panoptic quality of a run's maps, PNG by PNG in threads, and the classes of their pixels.

Classes of pixels by a semantic head alone are counted while images are inferred, then scored.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.dataset import Category, ImageRecord
from harness.core.detections import Detections
from harness.core.errors import IntegrityError, RunFailedError
from harness.core.panoptic import PanopticTruth
from harness.data.panoptic import panoptic_truth, read_ids
from harness.data.semantic import Classes, semantic_truths
from harness.files.digest import file_digest
from harness.files.environment import usable_cpus
from harness.files.json import read
from harness.measure.coco import Scores
from harness.measure.panoptic import (
    VOID,
    Ids,
    Odd,
    PanopticScores,
    Tally,
    odd_sentences,
    pixels_of,
    qualities,
    tally,
    with_areas,
)
from harness.measure.semantic import SemanticScores, confusion, semantic_scores
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.checksums import read_sums, require_undamaged
from harness.workflows.runs.panoptic_files import (
    COUNTS_KEY,
    PANOPTIC_FILE,
    PANOPTIC_FOLDER,
    SEMANTIC_FILE,
    read_semantic,
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticFiles:
    """Predicted maps on disk."""

    path: Path
    """The file that lists the segments."""

    folder: Path
    """Folder of the PNGs."""

    sums: Mapping[str, str]
    """sha256 of each PNG by its name, where it is known."""

    repair: str
    """What the user can do about a file that is missing or damaged."""


def score_panoptic(
    truth: PanopticTruth,
    files: PanopticFiles,
    sizes: Mapping[int, tuple[int, int]],
    *,
    resamples: int,
) -> tuple[PanopticScores, tuple[str, ...]]:
    """The qualities of predicted maps, and sentences about what was odd.

    Args:
        truth: The ground truth.
        files: The predictions.
        sizes: (height, width) of the images that are scored, by id.
        resamples: Draws of the bootstrap over images; 0 for no intervals.

    Raises:
        IntegrityError: A file is missing, damaged, or does not fit the others.
    """
    tallies, odd = tallies_of(truth, files, sizes)
    scores = qualities(
        tallies,
        {one.category_id: one.name for one in truth.things},
        {one.category_id: one.name for one in truth.stuff},
        resamples=resamples,
    )
    return scores, tuple(odd_sentences(odd, truth.annotations_path.name))


def tallies_of(
    truth: PanopticTruth, files: PanopticFiles, sizes: Mapping[int, tuple[int, int]]
) -> tuple[list[Tally], Odd]:
    """The matches of each image's map, and what is odd about the true segments.

    Args:
        truth: The ground truth.
        files: The predictions.
        sizes: (height, width) of the images, by id.

    Raises:
        IntegrityError: A file is missing, damaged, or does not fit the others.
    """
    found = predicted_rows(files, truth, sizes)
    rows = [row for row in truth.rows if row["image_id"] in sizes]

    def match(row: Row) -> tuple[Tally, Odd]:
        number = row["image_id"]
        return matched_maps(truth, row, files, found[number], sizes[number])

    with ThreadPoolExecutor(usable_cpus()) as pool:
        answers = list(pool.map(match, rows))
    every = [odd for _, odd in answers]
    return [one for one, _ in answers], Odd(*map(sum, zip(*every, strict=True)))


def with_maps(
    scores: Scores,
    truth: PanopticTruth | None,
    folder: Path,
    images: Sequence[ImageRecord],
    resamples: int,
    *,
    counted: bool = True,
) -> tuple[Scores, tuple[str, ...]]:
    """The scores of boxes and masks with those of a run's maps, and what was odd about these.

    The classes of pixels by the semantic head alone are among them, where the run counted them.

    Args:
        scores: Scores of boxes and masks.
        truth: What is true of the maps; None where nothing was asked about them.
        folder: Folder of the run.
        images: That are scored.
        resamples: Draws of the bootstrap over images; 0 for no intervals.
        counted: Whether the run is known to have counted these classes.

    Raises:
        IntegrityError: The maps, or counts that were made, are missing or damaged.
    """
    if truth is None:
        return scores, ()
    files = files_of_run(folder)
    sizes = {one.image_id: (one.height_px, one.width_px) for one in images}
    found, odd = score_panoptic(truth, files, sizes, resamples=resamples)
    semantic = semantic_of_run(
        folder, sizes, truth.stuff, files.repair, resamples=resamples, counted=counted
    )
    whole = replace(
        scores,
        metrics={**scores.metrics, **found.metrics, **semantic.metrics},
        per_category=(*scores.per_category, *found.per_category),
        intervals={**scores.intervals, **found.intervals, **semantic.intervals},
    )
    return whole, odd


def files_of_run(folder: Path) -> PanopticFiles:
    """The maps of a run that made some.

    Raises:
        IntegrityError: The file that lists them is missing, or was damaged since the run wrote it.
    """
    path, sums = folder / PANOPTIC_FILE, read_sums(folder)
    repair = (
        "give the command of the run again, with --output "
        f"{shlex.quote(str(folder))} --resume: only what is damaged is made again"
    )
    known = require_undamaged(path, sums.get(PANOPTIC_FILE), repair=repair)
    if not known and not path.is_file():
        raise IntegrityError(f"{path} is missing", hint=repair)
    start = f"{PANOPTIC_FOLDER}/"
    return PanopticFiles(
        path=path,
        folder=folder / PANOPTIC_FOLDER,
        sums={name[len(start) :]: one for name, one in sums.items() if name.startswith(start)},
        repair=repair,
    )


def predicted_rows(
    files: PanopticFiles, truth: PanopticTruth, image_ids: Collection[int]
) -> dict[int, Row]:
    """The predicted segments of each image.

    Args:
        files: The predictions.
        truth: With the categories that they may have.
        image_ids: Images that must be among them.

    Raises:
        IntegrityError: The file is not valid, or lacks an image.
    """
    from harness.data.panoptic import require_rows

    content = read(files.path)
    rows = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise IntegrityError(
            f"{files.path} has no list of annotations with segments", hint=files.repair
        )
    known = [one.category_id for one in (*truth.things, *truth.stuff)]
    require_rows(rows, known, files.path)
    found = {row["image_id"]: row for row in rows}
    missing = [image for image in image_ids if image not in found]
    if missing:
        raise IntegrityError(
            f"{files.path} has no map of {len(missing)} of {len(image_ids)} images, the first is "
            f"image {missing[0]}",
            hint=files.repair,
        )
    return found


def matched_maps(
    truth: PanopticTruth, row: Row, files: PanopticFiles, found: Row, size: tuple[int, int]
) -> tuple[Tally, Odd]:
    """The tally of one image, and what is odd about the segments of its truth.

    Args:
        truth: The ground truth. As in panopticapi, pixels of a segment that it does not list are of
            nothing that can be found, and a listed one without a pixel is missed.
        row: Its segments of the image.
        files: The predictions.
        found: Their segments of the image.
        size: (height, width) of the image.

    Raises:
        IntegrityError: A PNG is missing or damaged, or a prediction's has other segments than are
            listed.
    """
    from harness.data.panoptic import read_ids

    known, place = truth.folder / row["file_name"], undamaged_map(files, found)
    ids = read_ids(known, size, repair=truth.repair)
    segments, odd = with_areas(ids, row["segments_info"])
    answers = read_ids(place, size, repair=files.repair)
    _require_listed(answers, found["segments_info"], place, files.path)
    try:
        return tally(ids, segments, answers, found["segments_info"]), odd
    except IntegrityError as error:
        where = f"{truth.annotations_path}: image {row['image_id']}"
        raise IntegrityError(f"{where}: {error.message} in {known}") from None


def undamaged_map(files: PanopticFiles, row: Row) -> Path:
    """The PNG of an image.

    Args:
        files: Predicted maps.
        row: Row of the image, in the file that lists the segments.

    Raises:
        IntegrityError: It is missing, or another one than the run wrote.
    """
    name = str(row["file_name"])
    place, expected = files.folder / name, files.sums.get(name)
    if not place.is_file():
        raise IntegrityError(f"{place} is missing", hint=files.repair)
    if expected is not None and file_digest(place) != expected:
        raise IntegrityError(f"{place} is not the file that the run wrote", hint=files.repair)
    return place


def _require_listed(ids: Ids, segments: Sequence[Row], png: Path, listing: Path) -> None:
    """Check that a predicted map has the segments that are listed, as panopticapi does.

    Raises:
        IntegrityError: The map has other segments than are listed.
    """
    areas = pixels_of(ids)
    areas.pop(VOID, None)
    listed = {one["id"] for one in segments}
    if areas.keys() != listed:
        extra, absent = sorted(areas.keys() - listed), sorted(listed - areas.keys())
        what = (
            f"has pixels of segment {extra[0]}, which {listing.name} does not list"
            if extra
            else f"has no pixel of segment {absent[0]}, which {listing.name} lists"
        )
        raise IntegrityError(f"{png} {what}: the PNG and the file do not belong together")


def changed_maps(first: Path, second: Path) -> list[int]:
    """Ids of the images whose maps differ, in ascending order; those of one run only, too.

    Args:
        first: Folder of a run that made maps.
        second: Folder of another.

    Raises:
        IntegrityError: A map is missing or damaged.
    """
    files = [files_of_run(folder) for folder in (first, second)]
    rows = [_rows(one) for one in files]
    common = rows[0].keys() & rows[1].keys()
    apart = rows[0].keys() ^ rows[1].keys()
    pairs = {image: (rows[0][image], rows[1][image]) for image in common}
    return sorted(apart | {image for image, pair in pairs.items() if not _are_same(files, pair)})


def mapped_images(folder: Path) -> list[int]:
    """Ids of the images that a run made maps of, in ascending order.

    Args:
        folder: Of the run.

    Raises:
        IntegrityError: The file that lists them is missing or damaged.
    """
    return sorted(_rows(files_of_run(folder)))


def _rows(files: PanopticFiles) -> dict[int, Row]:
    listed = panoptic_truth(read(files.path), files.path, files.folder, "")
    return {row["image_id"]: row for row in listed.rows}


def _are_same(files: list[PanopticFiles], rows: tuple[Row, Row]) -> bool:
    """Whether the maps of an image have the same segments at the same pixels."""
    places = [undamaged_map(one, row) for one, row in zip(files, rows, strict=True)]
    if rows[0]["segments_info"] != rows[1]["segments_info"]:
        return False
    if file_digest(places[0]) == file_digest(places[1]):
        return True
    # Another version of a library may write the same pixels in other bytes.
    one, other = (
        read_ids(place, repair=one.repair) for place, one in zip(places, files, strict=True)
    )
    return np.array_equal(one, other)


class Counting:
    """Counts the classes of pixels of each image.

    The ground truth of an image is read in the thread that decodes the image, and compared in the
    one that makes its line.
    """

    def __init__(self, job: Job, image_ids: Collection[int]) -> None:
        """Begin.

        Args:
            job: The evaluation.
            image_ids: Ids of the images that are counted.
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
        return {COUNTS_KEY: [number for row in counts for number in row]}


def semantic_of_run(
    folder: Path,
    sizes: Mapping[int, tuple[int, int]],
    stuff: Sequence[Category],
    repair: str,
    *,
    resamples: int,
    counted: bool,
) -> SemanticScores:
    """Return the numbers of a run; none of one whose version did not count.

    Args:
        folder: The run folder.
        sizes: (height, width) of the images that are scored, by id.
        stuff: Kinds of stuff of the panoptic annotations.
        repair: What the user can do about a damaged file.
        resamples: Draws of the bootstrap over images; 0 for no intervals.
        counted: Whether the run is known to have counted.

    Raises:
        IntegrityError: The file of the counts is missing, damaged, or lacks an image.
    """
    counts = read_semantic(folder, sizes, stuff, repair)
    if counts is None and counted:
        raise IntegrityError(
            f"{folder / SEMANTIC_FILE} is missing: the run counted the classes of pixels",
            hint=repair,
        )
    if counts is None:
        return SemanticScores({}, {})
    return semantic_scores(counts, 1 + len(stuff), resamples=resamples)
