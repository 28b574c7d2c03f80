"""A parsed and validated COCO-format data set, without its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images sorted by id, categories sorted by id, and the digest of the file they come from.

    A network's class_index is the position in ``categories``.
    """

    name: str
    """Name of a known data set, else of the annotation file."""

    annotations_path: Path
    """The annotation file."""

    images_dir: Path
    """Folder of the images."""

    images: tuple[ImageRecord, ...]
    """All images, by ascending id."""

    categories: tuple[Category, ...]
    """All categories, by ascending id."""

    annotation_count: int
    """Number of annotations."""

    crowd_count: int
    """Number of annotations that are crowds."""

    has_masks: bool
    """Whether any annotation has a segmentation."""

    digest: str
    """sha256 of the annotation file."""

    warnings: tuple[str, ...] = ()
    """Oddities that do not make the file unusable, one sentence each."""

    @property
    def image_ids(self) -> tuple[int, ...]:
        return tuple(image.image_id for image in self.images)
