"""Which images have another map of segments in another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.panoptic import panoptic_truth, read_ids
from harness.files.digest import file_digest
from harness.files.json import read
from harness.workflows.evaluation.panoptic import PanopticFiles, files_of_run, undamaged_map

Row = Mapping[str, Any]


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
