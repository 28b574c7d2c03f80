"""The lock file's content: artefacts to fetch, model entries, training recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.core.checks import Reference

#: What ``harness download --only`` selects.
Group = Literal["annotations", "val", "val100", "train", "checkpoints", "torchvision", "backbones"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedFacts:
    """What must be true after an archive is unpacked: the proof of the data."""

    folder: str
    """Path below the folder of data sets."""

    image_count: int | None = None
    """Number of images the folder must have."""

    annotations: str | None = None
    """Path of the annotation file below the folder of data sets; each of its images must be present
    and of the listed size.
    """

    annotation_count: int | None = None
    """Number of images the annotation file must list."""

    files: dict[str, FileFacts] = field(default_factory=dict)
    """sha256 and size of single unpacked files, by path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Size and hash of one file; None where no source gives the value."""

    bytes: int | None
    """Size of the file."""

    sha256: str | None
    """Hash of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One file to fetch, with every hash a source gives. None: no source gives the value."""

    name: str
    """Unique name in the lock."""

    group: Group
    """What ``--only`` selects."""

    kind: Literal["zip", "tgz", "file"]
    """Single file or kind of archive."""

    path: str
    """Path below the folder of data sets."""

    url: str
    """Address of the file."""

    mirrors: tuple[str, ...] = ()
    """Other addresses of the same file."""

    bytes: int | None = None
    """Size of the file."""

    sha256: str | None = None
    """Hash of the file."""

    md5: str | None = None
    """Hash of the file."""

    md5_prefix: str | None = None
    """First hex digits of the md5, from the file name in Detectron2's zoo."""

    sha256_prefix: str | None = None
    """First hex digits of the sha256, from the file name of torchvision."""

    licence: str
    """Licence of the content."""

    source: str
    """Where these numbers come from."""

    unpacked: UnpackedFacts | None = None
    """Facts of the content of an archive; None for a single file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """The training settings a model is published with."""

    schedule: Literal["1x", "3x", "own"]
    """Name of the schedule, such as ``3x``."""

    iterations: int
    """Number of iterations."""

    steps: tuple[int, ...]
    """Iterations at which the learning rate is divided by 10."""

    batch_size: int
    """Images an iteration, over all devices."""

    learning_rate: float
    """Base learning rate at this batch size."""

    backbone: str | None
    """Artefact of the ImageNet weights it begins with, None for random ones."""

    dataset: str = "coco_2017_train"
    """Name of the data set it is trained on."""

    rois_per_image: int = 512
    """Regions sampled for the box head."""

    frozen_stages: int = 2
    """First stages that keep the backbone's weights (BACKBONE.FREEZE_AT)."""

    source: str
    """Where the recipe comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One line of the zoo."""

    name: str
    """Name on the command line."""

    title: str
    """Name for readers."""

    architecture: str
    """Name of a function in ``harness.zoo.architectures``."""

    checkpoint: str | None
    """Name of an artefact, or None."""

    embedded: FileFacts | None = None
    """Weights in the package (``harness/zoo/embedded/<name>.safetensors``), of a model without a
    checkpoint.
    """

    dataset: str
    """Name of the data set the references are measured on."""

    recipe: TrainRecipe | None
    """Published training recipe; None where there is none."""

    references: tuple[Reference, ...]
    """Published and accepted numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``model_zoo.lock.json``, validated."""

    schema_version: Literal[1]
    """Version of the file format."""

    artefacts: tuple[Artefact, ...]
    """All files that can be downloaded."""

    models: tuple[ModelEntry, ...]
    """All model entries."""
