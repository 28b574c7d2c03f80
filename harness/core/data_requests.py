"""What a user asks of their own data, typed; every field is one option or word of the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Format = Literal["labelme", "labelstudio", "openimages", "voc", "yolo", "coco"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """Annotations of another program as one COCO file.

    source: file or folder. images: where the photographs are, None for beside the annotations.
    source_format: None tells it from what lies there. categories: their names in the order of their
    ids, and the only ones; empty for all. boxes_as_masks: a box stands for the pixels it encloses.
    annotator: whose annotations of Label Studio are taken. part: of a source that has
    several (YOLO's train, val, test; VOC's lists of images).
    """

    source: Path
    output: Path
    images: Path | None = None
    source_format: Format | None = None
    categories: tuple[str, ...] = ()
    boxes_as_masks: bool = False
    annotator: str | None = None
    part: str | None = None
