"""What a user asks of their own data, typed; every field is one option or word of the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Format = Literal["labelme", "labelstudio", "openimages", "voc", "yolo", "coco"]
FORMATS: tuple[Format, ...] = get_args(Format)

OpenImagesSplit = Literal["train", "validation", "test"]
OPEN_IMAGES_SPLITS: tuple[OpenImagesSplit, ...] = get_args(OpenImagesSplit)

SameNames = Literal["keep", "apart", "merge"]
SAME_NAMES: tuple[SameNames, ...] = get_args(SameNames)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """Annotations of another program as one COCO file.

    source: file or folder. images: where the photographs are, None for beside the annotations.
    source_format: None tells it from what lies there. categories: their names in the order of their
    ids, and the only ones; empty for all. boxes_as_masks: a box stands for the pixels it encloses.
    annotator: whose annotations of Label Studio are taken. part: of a source that has
    several (YOLO's train, val, test; VOC's lists of images). encoding: of text files that do not
    say theirs; None for UTF-8 or UTF-16.
    """

    source: Path
    output: Path
    images: Path | None = None
    source_format: Format | None = None
    categories: tuple[str, ...] = ()
    boxes_as_masks: bool = False
    annotator: str | None = None
    part: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRequest:
    """An annotation file with what is wrong put right or left out.

    images: folder of its photographs, None to believe the sizes in the file. same_names: what
    becomes of categories that share a name. renumber: category ids from 1 without gaps. keep_boxes:
    objects without a mask stay in a file that has masks.
    """

    file: Path
    output: Path
    images: Path | None = None
    same_names: SameNames = "keep"
    renumber: bool = False
    keep_boxes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRequest:
    """An annotation file dealt out to several. names: of the parts, () for train, val and test.

    output: folder of the parts, None for the file's own.
    """

    file: Path
    fractions: tuple[float, ...] = (0.8, 0.2)
    names: tuple[str, ...] = ()
    seed: int = 0
    output: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """Several annotation files as one. folders: where the images of each are, () for one folder."""

    files: tuple[Path, ...]
    output: Path
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRequest:
    """Some categories and some images of an annotation file. image_count: None for all."""

    file: Path
    output: Path
    categories: tuple[str, ...] = ()
    image_count: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImagesRequest:
    """Some classes of Open Images with their masks, fetched and converted.

    classes: names as Open Images has them. image_count: random ones by the seed, None for all.
    mirror: address to fetch everything from, laid out by the paths of the published ones. jobs:
    connections at once. keep_archives: keep the mask archives.
    """

    output: Path
    classes: tuple[str, ...]
    split: OpenImagesSplit = "validation"
    image_count: int | None = 100
    seed: int = 0
    mirror: str | None = None
    jobs: int = 8
    keep_archives: bool = False
