"""What a user asks of their own data, typed; every field is one option or word of the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from harness.core.engine import MOST_THREADS
from harness.core.settings import setting

Format = Literal["labelme", "labelstudio", "openimages", "voc", "yolo", "coco"]
FORMATS: tuple[Format, ...] = get_args(Format)

OpenImagesSplit = Literal["train", "validation", "test"]

SameNames = Literal["keep", "apart", "merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """Annotations of another program as one COCO file."""

    group: ClassVar[str] = "what to convert"

    source: Path = setting(help="file or folder of annotations", positional=True)
    output: Path = setting(help="COCO file to write")
    source_format: Format | None = setting(
        None, help="what the annotations are", none="detected from the files", flag="--from"
    )
    images: Path | None = setting(None, help="folder of the images", none="beside the annotations")
    categories: tuple[str, ...] = setting(
        (),
        help="only these categories, with ids in this order",
        none="all, by name",
        metavar="A,B,C",
    )
    boxes_as_masks: bool = setting(False, help="use each box as a mask of the pixels it encloses")
    annotator: str | None = setting(
        None, help="whose annotations of Label Studio are taken", none="the only one's"
    )
    part: str | None = setting(
        None, help="part of a YOLO or VOC data set: train, val, …", none="all"
    )
    encoding: str | None = setting(
        None,
        help="encoding of text files that do not declare one: gbk, big5, shift_jis, …",
        none="UTF-8 or UTF-16",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What training and scoring make of a data set."""

    group: ClassVar[str] = "what to check"

    file: Path = setting(help="COCO annotation file", positional=True)
    images: Path | None = setting(
        None, help="folder of its images: the header of each is read", none="not checked"
    )
    decode: bool = setting(
        False, help="decode the pixels of every image, which finds those that are damaged"
    )
    boxes_only: bool = setting(False, help="for a network without masks")
    panoptic: Path | None = setting(
        None,
        help="panoptic annotation file of the same images: every PNG is checked",
        none="none",
    )
    panoptic_masks: Path | None = setting(
        None,
        help="folder of the PNGs that the panoptic annotation file lists",
        none="beside that file, with its name",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRequest:
    """Corrects an annotation file; what cannot be corrected is left out."""

    group: ClassVar[str] = "what to clean"

    file: Path = setting(help="COCO annotation file, also one with errors", positional=True)
    output: Path = setting(help="file to write")
    images: Path | None = setting(
        None,
        help="folder of its images: the header of each is read",
        none="sizes in the file are believed",
    )
    decode: bool = setting(
        False, help="decode the pixels of every image, and leave out those that are damaged"
    )
    same_names: SameNames = setting("keep", help="what becomes of categories that share a name")
    renumber: bool = setting(False, help="number the categories 1, 2, 3, …")
    keep_boxes: bool = setting(False, help="keep objects without a mask beside those with one")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRequest:
    """Splits an annotation file into several."""

    group: ClassVar[str] = "what to split"

    file: Path = setting(help="COCO annotation file", positional=True)
    fractions: tuple[float, ...] = setting(
        (0.8, 0.2), help="share of the images of each part", metavar="A,B"
    )
    names: tuple[str, ...] = setting(
        (), help="names of the parts", none="train,val,test", metavar="A,B"
    )
    seed: int = setting(0, help="seed of the random choice")
    output: Path | None = setting(None, help="folder of the parts", none="the file's own")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """Several annotation files as one."""

    group: ClassVar[str] = "what to merge"

    files: tuple[Path, ...] = setting(help="COCO annotation files", positional=True, spaced=True)
    output: Path = setting(help="file to write")
    folders: tuple[Path, ...] = setting(
        (), help="folder of each file's images", none="one folder has them all", spaced=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRequest:
    """Some categories and some images of an annotation file."""

    group: ClassVar[str] = "what to keep"

    file: Path = setting(help="COCO annotation file", positional=True)
    output: Path = setting(help="file to write")
    categories: tuple[str, ...] = setting(
        (), help="only these categories", none="all", metavar="A,B"
    )
    names: Path | None = setting(
        None,
        help="text file of images, one a line, by file name or id; harness show --select saves one",
        none="all",
        metavar="FILE",
    )
    ids: tuple[int, ...] = setting((), help="only images with these ids", none="all", metavar="N,N")
    tags: tuple[str, ...] = setting(
        (), help="only images with one of these tags in the file", none="all", metavar="A,B"
    )
    image_count: int | None = setting(
        None,
        help="how many images, drawn at random from these; for certain ones: --ids or --names",
        none="all",
        flag="--images",
        metavar="N",
    )
    seed: int = setting(0, help="seed of the random choice")
    copy_images: Path | None = setting(
        None,
        help="folder of the images: those that are kept are copied to the folder data beside the "
        "output, FiftyOne's layout",
        none="no image is copied",
        metavar="DIR",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImagesRequest:
    """Some classes of Open Images with their masks, fetched and converted."""

    group: ClassVar[str] = "what to fetch"

    output: Path = setting(help="folder for everything")
    classes: tuple[str, ...] = setting(
        help="names as Open Images has them: Panda,Dice,Duck", metavar="A,B,C"
    )
    split: OpenImagesSplit = setting("validation", help="part of Open Images")
    image_count: int = setting(100, help="N random images", flag="--images", metavar="N", minimum=1)
    all_images: bool = setting(False, help="every image, not only --images of them")
    seed: int = setting(0, help="seed of the random choice")
    mirror: str | None = setting(
        None,
        help="http, https or file address to fetch everything from, laid out as the originals",
        none="the published addresses",
        metavar="URL",
    )
    jobs: int = setting(8, help="connections at once", minimum=1, maximum=MOST_THREADS)
    keep_archives: bool = setting(False, help="keep the mask archives")

    @property
    def most_images(self) -> int | None:
        """How many images are fetched; None for all."""
        return None if self.all_images else self.image_count
