"""Keywords of the Python API: settings of ``data``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict

from typing_extensions import Required


class ConvertSettings(TypedDict, total=False):
    """Keywords of `convert`, those of `ConvertRequest`."""

    output: Required[str | Path]
    """COCO file to write."""

    source_format: Literal["labelme", "labelstudio", "openimages", "voc", "yolo", "coco"] | None
    """What the annotations are (default: detected from the files)."""

    images: str | Path | None
    """Folder of the images (default: beside the annotations)."""

    categories: Iterable[str]
    """Only these categories, with ids in this order (default: all, by name)."""

    boxes_as_masks: bool
    """Use each box as a mask of the pixels it encloses."""

    annotator: str | None
    """Whose annotations of Label Studio are taken (default: the only one's)."""

    part: str | None
    """Part of a YOLO or VOC data set: train, val, … (default: all)."""

    encoding: str | None
    """Encoding of text files that do not declare one: gbk, big5, shift_jis, … (default: UTF-8 or
    UTF-16)."""
