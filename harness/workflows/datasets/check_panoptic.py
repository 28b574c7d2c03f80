"""Panoptic annotations as ``harness data check`` looks at them: the file, and every PNG of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.dataset import Dataset
from harness.core.errors import IntegrityError, UsageError
from harness.core.panoptic import PanopticTruth
from harness.core.printable import counted
from harness.core.progress import Advance, Progress
from harness.data.panoptic import read_ids, read_panoptic, require_pngs
from harness.measure.panoptic import Odd, odd_sentences, with_areas

#: Faulty PNGs named in the error.
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticReport:
    """What the panoptic annotations of a data set hold."""

    digest: str
    """sha256 of the file."""

    map_count: int
    """Images that it lists segments of, all of which were read."""

    segment_count: int
    """Segments that it lists."""

    thing_count: int
    """Kinds of single objects."""

    stuff_count: int
    """Kinds of stuff."""

    warnings: tuple[str, ...]
    """What is odd, but has a meaning, a sentence each."""


def check_panoptic(
    file: Path | None, folder: Path | None, dataset: Dataset, progress: Progress
) -> PanopticReport | None:
    """The report on panoptic annotations; every PNG is read.

    Args:
        file: In COCO's panoptic format; None where there are none.
        folder: Folder of its PNGs; None for the folder beside the file that has its name.
        dataset: Data set of the same images, with boxes and masks.
        progress: Receives progress.

    Raises:
        UsageError: The file or the folder is not there, or a folder is given alone.
        IntegrityError: The file is not valid, belongs to other images or categories, or PNGs are
            missing, unreadable, or of another size than their image.
    """
    if file is None:
        if folder is not None:
            raise UsageError("--panoptic-masks goes with --panoptic FILE")
        return None
    truth = read_panoptic(file, folder, dataset, option="--panoptic").panoptic
    assert truth is not None
    sizes = {one.image_id: (one.height_px, one.width_px) for one in dataset.images}
    require_pngs(truth, sizes)
    rows = [row for row in truth.rows if row["image_id"] in sizes]
    faults: list[IntegrityError] = []
    with progress.task("PNGs", total=len(rows), unit="img") as tick:
        every = list(_each(truth, rows, sizes, faults, tick))
    if faults:
        named = "\n  ".join(one.message for one in faults[:NAMED])
        more = f"\n  … and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise IntegrityError(
            f"{counted(len(faults), 'panoptic PNG')} of {truth.folder}:\n  {named}{more}",
            hint=truth.repair,
        )
    odd = Odd(*map(sum, zip(*every, strict=True)))
    return PanopticReport(
        digest=truth.digest,
        map_count=len(rows),
        segment_count=sum(len(row["segments_info"]) for row in rows),
        thing_count=len(truth.things),
        stuff_count=len(truth.stuff),
        warnings=tuple(odd_sentences(odd, file.name)),
    )


def _each(
    truth: PanopticTruth,
    rows: list[dict[str, Any]],
    sizes: Mapping[int, tuple[int, int]],
    faults: list[IntegrityError],
    advance: Advance,
) -> Iterator[Odd]:
    """Yield what is odd about each map; those that cannot be read are put among the faults."""
    for row in rows:
        advance(1)
        try:
            ids = read_ids(truth.folder / row["file_name"], sizes[row["image_id"]])
        except IntegrityError as fault:
            faults.append(fault)
        else:
            yield with_areas(ids, row["segments_info"])[1]
