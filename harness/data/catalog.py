"""Data sets by name, and by the files a user points at."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import replace
from pathlib import Path

from harness.core.dataset import Dataset
from harness.core.errors import PrerequisiteError, UsageError
from harness.core.requests.inference import EMBEDDED_DATASET
from harness.core.requests.loading import DatasetRequest
from harness.data.coco import read_dataset

#: Annotation file and image folder below the root, by name: Detectron2's own layout
#: (``data/datasets/builtin.py``); the 100-image subset has its images in ``coco/val2017`` there.
COCO_LAYOUT = {
    "coco_2017_val": ("coco/annotations/instances_val2017.json", "coco/val2017"),
    "coco_2017_train": ("coco/annotations/instances_train2017.json", "coco/train2017"),
    "coco_2017_test": ("coco/annotations/image_info_test2017.json", "coco/test2017"),
    "coco_2017_test-dev": ("coco/annotations/image_info_test-dev2017.json", "coco/test2017"),
    "coco_2017_val_100": ("coco/annotations/instances_val2017_100.json", "coco/val2017"),
    "coco_2017_val_rem": ("coco/annotations/instances_valrem.json", "coco/val2017"),
    "coco_2017_val_mlperf": ("coco/annotations/instances_val2017_mlperf.json", "coco/val2017"),
    "keypoints_coco_2017_val": ("coco/annotations/person_keypoints_val2017.json", "coco/val2017"),
    "keypoints_coco_2017_train": (
        "coco/annotations/person_keypoints_train2017.json",
        "coco/train2017",
    ),
    "keypoints_coco_2017_val_100": (
        "coco/annotations/person_keypoints_val2017_100.json",
        "coco/val2017",
    ),
    "coco_2017_val_panoptic_separated": (
        "coco/annotations/instances_val2017.json",
        "coco/val2017",
    ),
    "coco_2017_train_panoptic_separated": (
        "coco/annotations/instances_train2017.json",
        "coco/train2017",
    ),
    "coco_2017_val_100_panoptic_separated": (
        "coco/annotations/instances_val2017_100.json",
        "coco/val2017",
    ),
}

#: Panoptic annotation file, and folders its PNGs may be in, by name of the data set: Detectron2's
#: layout, then the one panopticapi's users have. The 100 images are among the 5,000.
PANOPTIC_LAYOUT = {
    name: (
        f"coco/annotations/panoptic_{part}2017.json",
        (f"coco/panoptic_{part}2017", f"coco/annotations/panoptic_{part}2017"),
    )
    for name, part in (
        ("coco_2017_val_panoptic_separated", "val"),
        ("coco_2017_val_100_panoptic_separated", "val"),
        ("coco_2017_train_panoptic_separated", "train"),
    )
}

#: Of these data sets, with the name of the file.
UNPROVEN_MAPS = (
    "{} and its PNGs cannot be proven by themselves: no source gives their hashes; harness "
    "download takes them from the archive whose sha256 is pinned"
)

#: Other annotations of the images of a data set, or some of its images: for information, no number
#: of the zoo is published for them.
SECOND_OPINIONS = ("coco_2017_val_rem", "coco_2017_val_mlperf")

#: What names of data sets of persons with keypoints begin with.
KEYPOINTS = "keypoints_coco_"

#: ``harness download --only …`` that brings each.
DOWNLOAD_GROUPS = {
    "coco_2017_val": "val,annotations",
    "coco_2017_train": "train,annotations",
    "coco_2017_test": "test",
    "coco_2017_test-dev": "test",
    "coco_2017_val_100": "val100",
    "coco_2017_val_rem": "val,rem",
    "coco_2017_val_mlperf": "val,mlperf",
    "keypoints_coco_2017_val": "val,annotations",
    "keypoints_coco_2017_train": "train,annotations",
    "keypoints_coco_2017_val_100": "val100",
    "coco_2017_val_panoptic_separated": "val,annotations,panoptic",
    "coco_2017_val_100_panoptic_separated": "val100,panoptic",
    "coco_2017_train_panoptic_separated": "train,annotations,panoptic_train",
}

#: Embedded data sets, generated on first use.
SYNTHETIC_SPLITS = ("synthetic_train", "synthetic_val")

#: The part of a data set that what was learned from another part is evaluated on.
VALIDATION_OF = {
    "coco_2017_train": "coco_2017_val",
    "keypoints_coco_2017_train": "keypoints_coco_2017_val",
    "coco_2017_train_panoptic_separated": "coco_2017_val_panoptic_separated",
    "synthetic_train": "synthetic_val",
}

DATASET_NAMES = (*COCO_LAYOUT, *SYNTHETIC_SPLITS)


def find_dataset(
    *,
    dataset: str | None,
    annotations: Path | None,
    images: Path | None,
    root: Path,
    options: tuple[str, str] = ("--annotations", "--images"),
    compact: bool = False,
    panoptic: Path | None = None,
    panoptic_masks: Path | None = None,
) -> Dataset:
    """The known data set of a name, or the one in two given places, parsed.

    Args:
        dataset: A known name.
        annotations: COCO annotation file, together with ``images`` in place of a name.
        images: Folder of its images.
        root: Where known data sets are.
        options: Names of the two options, for messages.
        compact: As in ``harness.data.coco.read_dataset``.
        panoptic: Panoptic annotation file of the same images, beside ``annotations``.
        panoptic_masks: Folder of its PNGs; None for the one beside it.

    Raises:
        UsageError: The name is unknown, or half of the pair is missing.
        PrerequisiteError: A known data set is not on disk; with the command that fetches it.
    """
    name = dataset
    _require_panoptic_pair(dataset, annotations, panoptic, panoptic_masks, options)
    if annotations is not None or images is not None:
        annotations, images = _pair(annotations, images, options)
        if dataset is not None:
            raise UsageError(f"give --dataset, or {options[0]} with {options[1]}, not both")
    elif dataset is None:
        raise UsageError("no data set given", hint=f"choose one of {', '.join(DATASET_NAMES)}")
    else:
        annotations, images = _known(dataset, root)
    found = read_dataset(annotations, images, name=name, compact=compact)
    if dataset in PANOPTIC_LAYOUT:
        panoptic, panoptic_masks = panoptic_places(dataset, root)
        odd = UNPROVEN_MAPS.format(panoptic.name)
        found = replace(found, warnings=(*found.warnings, odd))
    if panoptic is None:
        return found
    from harness.data.panoptic import read_panoptic  # Pillow: only where PNGs are read

    option = None if dataset in PANOPTIC_LAYOUT else options[0].replace("annotations", "panoptic")
    return read_panoptic(panoptic, panoptic_masks, found, option=option)


def panoptic_places(dataset: str, root: Path) -> tuple[Path, Path]:
    """The panoptic annotation file of a known data set, and the folder of its PNGs.

    Args:
        dataset: A name of ``PANOPTIC_LAYOUT``.
        root: Folder of data sets.
    """
    file, folders = PANOPTIC_LAYOUT[dataset]
    found = next((one for one in folders if (root / one).is_dir()), folders[0])
    return root / file, root / found


def requested_dataset(request: DatasetRequest) -> Dataset:
    """The data set of a request; the embedded one where nothing is named.

    Raises:
        UsageError: As in ``find_dataset``.
        PrerequisiteError: As in ``find_dataset``.
    """
    asked = request.data
    own = asked.annotations is not None or asked.images is not None
    found = find_dataset(
        dataset=asked.dataset or (None if own else EMBEDDED_DATASET),
        annotations=asked.annotations,
        images=asked.images,
        root=request.root,
        panoptic=asked.panoptic,
        panoptic_masks=asked.panoptic_masks,
    )
    return found if asked.limit is None else limited(found, asked.limit)


def _require_panoptic_pair(
    dataset: str | None,
    annotations: Path | None,
    panoptic: Path | None,
    masks: Path | None,
    options: tuple[str, str],
) -> None:
    """UsageError for panoptic annotations that nothing is said about."""
    option = options[0].replace("annotations", "panoptic")
    if masks is not None and panoptic is None:
        raise UsageError(
            f"{option}-masks goes with {option}, which is missing",
            hint=f"give {option} as well: the file that lists the segments of the PNGs",
        )
    if panoptic is not None and (annotations is None or dataset is not None):
        raise UsageError(
            f"{option} goes with {options[0]} and {options[1]}: boxes and masks of the same images",
            hint="a known data set has panoptic annotations of its own: "
            + ", ".join(PANOPTIC_LAYOUT),
        )


def _pair(
    annotations: Path | None, images: Path | None, options: tuple[str, str]
) -> tuple[Path, Path]:
    """Both places; UsageError that names the missing one."""
    if annotations is None or images is None:
        missing, what = (
            (options[1], "the folder of its images")
            if images is None
            else (options[0], "the COCO annotation file that lists the images")
        )
        raise UsageError(
            f"{options[0]} and {options[1]} go together, and {missing} is missing",
            hint=f"give {missing} as well: {what}",
        )
    return annotations, images


def require_known(dataset: str) -> None:
    """Check the name of a data set; whether it is on disk is another matter.

    Raises:
        UsageError: There is none of that name.
    """
    if dataset not in DATASET_NAMES:
        near = difflib.get_close_matches(dataset, DATASET_NAMES, n=1)
        raise UsageError(
            f"unknown data set {dataset!r}" + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"known data sets: {', '.join(DATASET_NAMES)}",
        )


def _known(dataset: str, root: Path) -> tuple[Path, Path]:
    """Annotation file and image folder of a known data set; an embedded one is generated."""
    if dataset in SYNTHETIC_SPLITS:
        from harness.data.synthetic import generate

        folder = generate(dataset, root)
        return folder / "annotations.json", folder / "images"
    require_known(dataset)
    annotations, images = (root / part for part in COCO_LAYOUT[dataset])
    more = panoptic_places(dataset, root) if dataset in PANOPTIC_LAYOUT else ()
    for path in (annotations, images, *more):
        if not path.exists():
            raise PrerequisiteError(
                f"data set {dataset} is not there: no {path}",
                hint=f"run: harness download --only {DOWNLOAD_GROUPS[dataset]} "
                f"--root {shlex.quote(str(root))}",
            )
    return annotations, images


def limited(dataset: Dataset, count: int) -> Dataset:
    """A data set of the first images by id; everything else stays.

    Args:
        dataset: The whole one.
        count: How many images at most.
    """
    return replace(dataset, images=dataset.images[:count])
