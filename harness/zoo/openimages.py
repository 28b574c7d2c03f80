"""Addresses of Open Images, and what is known of its files: a size and an md5 each.

Tables and mask archives: ``openimages/v5`` of Google's storage, one mask archive for each first
digit of an image id; V6 and V7 use the same ones (voxel51/fiftyone, fiftyone/utils/openimages.py;
openimages/dataset, READMEV3.md). Images: the CVDF's bucket, which scales them to at most 1024 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.requests.data import OpenImagesSplit
from harness.files.fetch import Expected
from harness.files.json import read, to_typed

TABLES_URL = "https://storage.googleapis.com/openimages/"
IMAGES_URL = "https://open-images-dataset.s3.amazonaws.com/"
CLASS_NAMES = "v5/class-descriptions-boxable.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """Size and hash of one file, from the one source that has them."""

    bytes: int
    """Its length."""

    md5: str
    """In hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFiles:
    """The content of ``openimages.json``."""

    source: str
    """Where the sizes and hashes are from."""

    files: dict[str, TableFile]
    """By the path below TABLES_URL."""


def known_files() -> KnownFiles:
    """The pinned sizes and hashes."""
    path = Path(__file__).with_name("openimages.json")
    return to_typed(KnownFiles, read(path), where=str(path))


def segmentation_table(split: OpenImagesSplit) -> str:
    """Path of the table of masks of a split, below TABLES_URL."""
    return f"v5/{split}-annotations-object-segmentation.csv"


def mask_archive(split: OpenImagesSplit, image_id: str) -> str:
    """Path of the archive that has the masks of an image, below TABLES_URL.

    Args:
        split: Split of the image.
        image_id: 16 hexadecimal digits.
    """
    return f"v5/{split}-masks/{split}-masks-{image_id[0]}.zip"


def image_url(split: OpenImagesSplit, image_id: str) -> str:
    """Address of an image, at most 1024 px wide and high.

    Args:
        split: Split of the image.
        image_id: 16 hexadecimal digits.
    """
    return f"{IMAGES_URL}{split}/{image_id}.jpg"


def expected_of(path: str, known: KnownFiles) -> Expected:
    """Size and hash that a file must have; neither for one that is not pinned.

    Args:
        path: Below TABLES_URL.
        known: The pinned ones.
    """
    pinned = known.files.get(path)
    if pinned is None:
        return Expected(size=None, algorithm="md5", digest="")
    return Expected(size=pinned.bytes, algorithm="md5", digest=pinned.md5)
