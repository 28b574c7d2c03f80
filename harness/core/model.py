"""The lock file's content: artefacts to fetch, model entries, training recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.core.checks import Reference

#: What ``harness download --only`` selects.
Group = Literal[
    "annotations",
    "panoptic",
    "panoptic_train",
    "val",
    "val100",
    "rem",
    "mlperf",
    "train",
    "test",
    "train_proposals",
    "checkpoints",
    "zoo",
    "torchvision",
    "backbones",
]
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
    """Number of annotations the annotation file must have; None where it has none."""

    files: dict[str, FileFacts] = field(default_factory=dict)
    """sha256 and size of single unpacked files, by path."""

    inner: tuple[InnerArchive, ...] = ()
    """Archives in the archive, which are unpacked as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerArchive:
    """A zip in a zip."""

    path: str
    """Where the outer archive puts it, below the folder of data sets."""

    folder: str
    """Folder that it is unpacked in."""

    makes: tuple[str, ...]
    """Folders that its files may be in: the one it makes, and others they are kept in."""

    file_count: int
    """Number of files that one of these folders must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Size and hash of one file; None where no source gives the value."""

    bytes: int | None
    """Size of the file."""

    sha256: str | None
    """Hash of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Images of an annotation file, chosen by their licences."""

    artefact: str
    """Name of the artefact that brings the file."""

    annotations: str
    """Path of the file below the folder of data sets."""

    licences: tuple[str, ...]
    """An image is chosen where the address of its licence has one of these in it."""

    image_count: int
    """Number of images that are chosen."""

    annotation_count: int
    """Number of their annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One file to fetch, with every hash a source gives. None: no source gives the value."""

    name: str
    """Unique name in the lock."""

    group: Group
    """What ``--only`` selects."""

    kind: Literal["zip", "tgz", "file", "selection"]
    """Single file or kind of archive; of a selection nothing is fetched."""

    path: str
    """Path below the folder of data sets."""

    url: str | None
    """Address of the file; None where it is selected from another artefact's."""

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

    selection: Selection | None = None
    """What a file is made of that is not fetched by itself; None for one that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """The training settings a model is published with."""

    schedule: Literal["1x", "3x", "9x", "100ep", "200ep", "400ep", "own"]
    """Name of the schedule: multiples of 90,000 iterations of 16 images, or epochs."""

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

    augmentation: str = "flip"
    """What is done to the images; ``flip`` is a short edge of 640 to 800 px and mirroring."""

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
    """Name in ``harness.zoo.architectures``; one that is not there cannot be computed yet."""

    config: str | None = None
    """Configuration file in Detectron2's repository; None for other models."""

    model_id: str | None = None
    """Number under which Detectron2's zoo has the checkpoint; None for other models."""

    checkpoint: str | None
    """Name of an artefact, or None."""

    proposals: str | None = None
    """Name of the artefact with the region proposals of its data set; None for a network that
    proposes its own regions.
    """

    training_proposals: str | None = None
    """The same of the data it was trained on."""

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
class Expectation:
    """A number Detectron2 tests itself against, of weights that are no model entry."""

    config: str
    """Configuration file of the test in Detectron2's repository."""

    weights: str
    """Address of the weights it begins with."""

    kind: Literal["inference", "training"]
    """``inference`` of the weights, or a short ``training`` that begins with them."""

    metric: str
    """As in ``Reference``."""

    value: float
    """The number, 0-100."""

    tolerance: float
    """Allowed distance in both directions."""

    dataset: str
    """Detectron2's name of the data set it is measured on; a training also learns from it."""

    source: str
    """Where the number comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``model_zoo.lock.json``, validated."""

    schema_version: Literal[1]
    """Version of the file format."""

    artefacts: tuple[Artefact, ...]
    """All files that can be downloaded."""

    models: tuple[ModelEntry, ...]
    """All model entries."""

    expectations: tuple[Expectation, ...] = ()
    """Numbers of Detectron2's own tests that belong to no model entry; nothing is judged by them.
    """
