"""A panoptic map: every pixel of an image belongs to one segment, or to none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.dataset import Category
from harness.core.errors import RunFailedError
from harness.core.printable import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Class of a pixel that no segment of the ground truth has: no loss is computed on it, and it is
#: not measured (``ignore_label`` of Detectron2's data sets, SEM_SEG_HEAD.IGNORE_VALUE).
UNKNOWN = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a map."""

    segment_id: int
    """Its number in the map, from 1."""

    is_thing: bool
    """Whether it is one object; otherwise it is all there is of a kind of stuff."""

    class_index: int
    """Of a thing, a position in the model's categories; of stuff, a class of the semantic head,
    from 1.
    """

    score: float | None = None
    """Of the detection that a thing was; None for stuff."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PanopticMap:
    """The segments of one image.

    Raises:
        RunFailedError: The map has a number without a segment, or a segment without a pixel.
    """

    ids: npt.NDArray[np.int32]
    """(H, W) int32, of the original image: the number of each pixel's segment; 0 for none."""

    segments: tuple[Segment, ...]
    """In the order they were put into the map."""

    classes: npt.NDArray[np.uint8] | None = None
    """(H, W) uint8, class of each pixel by the semantic head alone: 0 for things, then each kind of
    stuff; None where it is not known.
    """

    stuff: tuple[Category, ...] = ()
    """Kinds of stuff, by class of the semantic head from 1; empty where they are not known."""

    def __post_init__(self) -> None:
        """Check that the segments are those of the map."""
        import numpy as np

        there = {int(one) for one in np.unique(self.ids)} - {0}
        listed = [one.segment_id for one in self.segments]
        if there != set(listed) or len(listed) != len(there):
            raise RunFailedError(
                f"a panoptic map has the segments {sorted(there)}, and {sorted(listed)} are listed"
            )

    def __eq__(self, other: object) -> bool:
        """Whether the segments and the segment of each pixel are the same."""
        import numpy as np

        if not isinstance(other, PanopticMap):
            return NotImplemented
        return np.array_equal(self.ids, other.ids) and self.segments == other.segments

    def __repr__(self) -> str:
        """Its size and the number of its segments."""
        height, width = self.ids.shape
        return f"<PanopticMap of {height} × {width} px: {counted(len(self.segments), 'segment')}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticTruth:
    """Panoptic annotations of a data set: an annotation file, and a folder with a PNG an image."""

    annotations_path: Path
    """The annotation file, in COCO's panoptic format."""

    folder: Path
    """Folder of the PNGs, whose pixels are numbers of segments: R + 256 · G + 65536 · B."""

    digest: str
    """sha256 of the annotation file."""

    things: tuple[Category, ...]
    """Categories of single objects, sorted by id."""

    stuff: tuple[Category, ...]
    """Categories of what is not counted, sorted by id; class 1 of a semantic head is the first."""

    rows: tuple[dict[str, Any], ...]
    """The annotations, one an image; nothing may be written into them."""

    repair: str = field(default="", compare=False)
    """What the user can do about a file that is missing or damaged."""


def category_of_segment(
    segment: Segment, things: Sequence[Category], stuff: Sequence[Category]
) -> Category:
    """The category of a segment.

    Args:
        segment: Segment of a map.
        things: The model's categories, by class index.
        stuff: Kinds of stuff; class 1 of the semantic head is the first.
    """
    return things[segment.class_index] if segment.is_thing else stuff[segment.class_index - 1]
