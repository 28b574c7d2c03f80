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
    """What must be true after an archive is unpacked: the proof of the data.

    folder: below the data-set root. image_count: files the folder must hold. annotations: path of
    the annotation file, below the same root, whose every image must be present and of the listed
    size. files: sha256 and bytes by path of single unpacked files.
    """

    folder: str
    image_count: int | None = None
    annotations: str | None = None
    annotation_count: int | None = None
    files: dict[str, FileFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Size and hash of one file; None where no source gives the value."""

    bytes: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One file to fetch, with every hash a source gives. None: no source gives the value.

    group: what ``--only`` selects. path: where it lies below the data-set root. md5_prefix,
    sha256_prefix: the hex digits that Detectron2's zoo and torchvision put into file names.
    source: where the numbers come from.
    """

    name: str
    group: Group
    kind: Literal["zip", "tgz", "file"]
    path: str
    url: str
    mirrors: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    md5_prefix: str | None = None
    sha256_prefix: str | None = None
    licence: str
    source: str
    unpacked: UnpackedFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """The training settings a model is published with.

    backbone: artefact of the ImageNet weights it begins with, None for random ones. dataset: what
    it is trained on. rois_per_image: regions sampled for the box head. frozen_stages: first stages
    that keep the backbone's weights (BACKBONE.FREEZE_AT).
    """

    schedule: Literal["1x", "3x", "own"]
    iterations: int
    steps: tuple[int, ...]
    batch_size: int
    learning_rate: float
    backbone: str | None
    dataset: str = "coco_2017_train"
    rois_per_image: int = 512
    frozen_stages: int = 2
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One line of the zoo.

    architecture: name of a function in ``harness.zoo.architectures``. checkpoint: name of an
    artefact, or None. embedded: of a model that has none, the weights that come with the package
    (``harness/zoo/embedded/<name>.safetensors``). dataset: the one its references are measured on.
    """

    name: str
    title: str
    architecture: str
    checkpoint: str | None
    embedded: FileFacts | None = None
    dataset: str
    recipe: TrainRecipe | None
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``model_zoo.lock.json``, validated."""

    schema_version: Literal[1]
    artefacts: tuple[Artefact, ...]
    models: tuple[ModelEntry, ...]
