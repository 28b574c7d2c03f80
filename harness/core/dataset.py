"""A parsed and validated COCO-format data set, without its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as the annotation file lists it."""

    image_id: int
    file_name: str
    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True)
class Category:
    """One category: its COCO id (any integer, gaps allowed) and its name (not always unique)."""

    category_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images sorted by id, categories sorted by id, and the digest of the file they come from.

    A network's class_index is the position in ``categories``. digest: sha256 of the annotation
    file. warnings: oddities that do not make the file unusable, one sentence each.
    """

    name: str
    annotations_path: Path
    images_dir: Path
    images: tuple[ImageRecord, ...]
    categories: tuple[Category, ...]
    annotation_count: int
    crowd_count: int
    has_masks: bool
    digest: str
    warnings: tuple[str, ...] = ()

    @property
    def image_ids(self) -> tuple[int, ...]:
        return tuple(image.image_id for image in self.images)
