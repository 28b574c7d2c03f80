"""A parsed and validated COCO-format data set, without its images' pixels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.printable import counted

if TYPE_CHECKING:
    from harness.core.panoptic import PanopticTruth

#: A parsed annotation file: lists of rows under ``images``, ``categories`` and ``annotations``.
Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as the annotation file lists it."""

    image_id: int
    """Id of the image in the annotation file."""

    file_name: str
    """Path below the folder of images."""

    height_px: int
    """Height of the upright image."""

    width_px: int
    """Width of the upright image."""


@dataclass(frozen=True, slots=True)
class Category:
    """One category: its COCO id (any integer, gaps allowed) and its name (not always unique)."""

    category_id: int
    """Id in the annotation file; it may have gaps."""

    name: str
    """Name in the annotation file."""

    keypoints: tuple[str, ...] = ()
    """Names of the keypoints of its objects, in order; none where it has no keypoints."""

    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints that a line connects, counted from 1, as COCO does."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dataset:
    """Images and categories, each sorted by id; a class index is a position in ``categories``."""

    name: str
    """What records and references call it."""

    annotations_path: Path
    """The COCO annotation file."""

    images_dir: Path
    """The folder that the images' file names are relative to."""

    images: tuple[ImageRecord, ...]
    """The images to run on, sorted by id."""

    categories: tuple[Category, ...]
    """All categories, sorted by id."""

    annotation_count: int
    """Rows of the file, whatever images were left out since."""

    crowd_count: int
    """Those of them that are crowd regions."""

    has_masks: bool
    """Whether any row has a segmentation."""

    keypoint_count: int = 0
    """Keypoints of an object; 0 where no row has any."""

    panoptic: PanopticTruth | None = field(default=None, repr=False, compare=False)
    """Its panoptic annotations; None where there are none, or none were asked for."""

    digest: str
    """sha256 of the annotation file."""

    warnings: tuple[str, ...] = ()
    """Oddities that do not make the file unusable, one sentence each."""

    content: Content | None = field(default=None, repr=False, compare=False)
    """The parsed file, valid; None where only the facts above are needed, and for images that no
    annotation file lists."""

    def __repr__(self) -> str:
        """Its name and how much it has: all images would be a screen of text."""
        parts = (
            counted(len(self.images), "image"),
            counted(len(self.categories), "category", "categories"),
            counted(self.annotation_count, "annotation"),
        )
        return f"<Dataset {self.name}: {', '.join(parts)} ({self.annotations_path})>"

    @property
    def image_ids(self) -> tuple[int, ...]:
        """Ids of the images, ascending."""
        return tuple(image.image_id for image in self.images)

    @property
    def places(self) -> tuple[Path, ...]:
        """The files and folders that it is read from."""
        truth = self.panoptic
        maps = () if truth is None else (truth.annotations_path, truth.folder)
        return (self.annotations_path, self.images_dir, *maps)

    @property
    def ground_truth(self) -> Content:
        """The parsed annotation file; nothing may be written into it.

        Raises:
            ValueError: It was dropped, or there is none.
        """
        if self.content is None:
            raise ValueError(f"the annotations of {self.name} are not in memory")
        return self.content

    def without_content(self) -> Dataset:
        """The same without the parsed file, which takes most of the memory."""
        panoptic = self.panoptic and replace(self.panoptic, rows=())
        return replace(self, content=None, panoptic=panoptic)
