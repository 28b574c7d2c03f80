"""The class of each pixel for a semantic head, from panoptic annotations: nothing is prepared.

As Detectron2's ``datasets/prepare_panoptic_fpn.py``: 0 is a thing of any kind, kinds of stuff count
from 1 in the order of their ids, and 255 is a pixel of no segment, or of one that the file does not
list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.errors import IntegrityError
from harness.core.panoptic import UNKNOWN, PanopticTruth
from harness.data.panoptic import Ids, read_ids

Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticTruth:
    """Where the classes of an image's pixels come from; they are read when they are needed."""

    path: Path
    """PNG of segments."""

    segments: npt.NDArray[np.int32]
    """(s,) int32, their numbers, ascending."""

    classes: Classes
    """(s,) uint8, the class of each."""

    repair: str
    """What the user can do about a PNG that is missing or damaged."""

    def read(self, size: tuple[int, int]) -> Classes:
        """Return the class of each pixel.

        Args:
            size: (height, width) of the image.

        Returns:
            (height, width) uint8.

        Raises:
            IntegrityError: The PNG is missing, damaged, or of another size.
        """
        return classes_of(
            read_ids(self.path, size, repair=self.repair), self.segments, self.classes
        )


def classes_of(ids: Ids, segments: npt.NDArray[np.int32], classes: Classes) -> Classes:
    """Return the class of each pixel of a map of segments.

    Args:
        ids: (H, W), the number of each pixel's segment.
        segments: (s,) numbers that have a class, ascending.
        classes: (s,) uint8, the class of each.

    Returns:
        (H, W) uint8; 255 where the number is none of them.
    """
    if not len(segments):
        return np.full(ids.shape, UNKNOWN, dtype=np.uint8)
    places = np.searchsorted(segments, ids).clip(max=len(segments) - 1)
    return np.where(segments[places] == ids, classes[places], UNKNOWN).astype(np.uint8)


def semantic_classes(truth: PanopticTruth) -> dict[int, int]:
    """Return the class of each category, by its id.

    Raises:
        IntegrityError: There are more kinds of stuff than one byte can tell apart.
    """
    if len(truth.stuff) >= UNKNOWN:
        raise IntegrityError(
            f"{truth.annotations_path} lists {len(truth.stuff)} kinds of stuff; a semantic head "
            f"learns {UNKNOWN - 1} at most"
        )
    return {
        **{one.category_id: 0 for one in truth.things},
        **{one.category_id: number for number, one in enumerate(truth.stuff, start=1)},
    }


def semantic_truths(
    truth: PanopticTruth, image_ids: Iterable[int] | None = None
) -> dict[int, SemanticTruth]:
    """Return where the classes of the pixels of images come from, by image id.

    Args:
        truth: Panoptic annotations.
        image_ids: Ids of the images; None for all.

    Raises:
        IntegrityError: There are too many kinds of stuff.
    """
    classes = semantic_classes(truth)
    wanted = None if image_ids is None else frozenset(image_ids)
    return {
        row["image_id"]: _truth_of(row, truth, classes)
        for row in truth.rows
        if wanted is None or row["image_id"] in wanted
    }


def _truth_of(
    row: Mapping[str, Any], truth: PanopticTruth, classes: Mapping[int, int]
) -> SemanticTruth:
    segments = sorted((one["id"], classes[one["category_id"]]) for one in row["segments_info"])
    return SemanticTruth(
        path=truth.folder / row["file_name"],
        segments=np.array([number for number, _ in segments], dtype=np.int32),
        classes=np.array([found for _, found in segments], dtype=np.uint8),
        repair=truth.repair,
    )
