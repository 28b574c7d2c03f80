"""``harness data check``: everything training and scoring would stumble over, found beforehand.

Of panoptic annotations the file is read, and every PNG of it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset, ImageRecord
from harness.core.errors import IntegrityError, UsageError
from harness.core.panoptic import PanopticTruth
from harness.core.printable import counted, shown, shown_text
from harness.core.progress import Advance, Progress
from harness.data.coco import read_dataset
from harness.data.image_files import ImageFault, image_faults
from harness.data.images import too_narrow
from harness.data.objects import BOXES_ONLY, AnnotatedImage, TrainingSet, training_set
from harness.data.panoptic import read_ids, read_panoptic, require_pngs
from harness.measure.panoptic import Odd, odd_sentences, with_areas

#: Faulty images, or PNGs, named in the error.
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCount:
    """How many objects a category has."""

    category_id: int
    """Its id."""

    name: str
    """Its name."""

    annotations: int
    """Annotations of the category in the file."""

    learnable: int
    """What training keeps of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What a data set holds."""

    digest: str
    """sha256 of the annotation file."""

    image_count: int
    """Images that it lists."""

    annotation_count: int
    """Annotations that it has."""

    crowd_count: int
    """Those of them that are crowds."""

    learnable_images: int
    """Images with an object to learn from."""

    learnable_objects: int
    """Objects to learn from."""

    categories: tuple[CategoryCount, ...]
    """Categories by id."""

    warnings: tuple[str, ...]
    """What is odd, but has a meaning, a sentence each."""

    left_out: tuple[str, ...]
    """What is not for training, a sentence a reason."""

    images_checked: bool
    """Whether the header of every image was read."""

    images_decoded: bool = False
    """Whether the pixels of every image were decoded as well."""

    keypoint_count: int = 0
    """Keypoints of an object; 0 where there are none."""

    labelled_objects: int = 0
    """Objects to learn from with a labelled keypoint."""

    panoptic: PanopticReport | None = None
    """Of panoptic annotations of the same images; None where none were given."""


def check_data(
    annotations: Path,
    images: Path | None,
    *,
    with_masks: bool,
    progress: Progress,
    decode: bool = False,
    panoptic: Path | None = None,
    panoptic_masks: Path | None = None,
) -> DataReport:
    """The report on an annotation file and, where they are given, on its images and maps.

    Args:
        annotations: COCO annotation file.
        images: Folder of its images; None to look at none.
        with_masks: For a network with masks.
        progress: Receives progress.
        decode: Decode the pixels of every image as well.
        panoptic: Panoptic annotations of the same images.
        panoptic_masks: Folder of their PNGs; None for the one beside ``panoptic``.

    Raises:
        UsageError: A file or folder is not there, or not given and images are to be decoded.
        IntegrityError: The file is not COCO's, or an image or PNG is not as listed.
    """
    require_folder_to_decode(images, decode=decode)
    dataset = _read(annotations, images)
    notes = dataset.warnings
    if images is not None:
        notes += _require_images(dataset, images, progress, decode=decode)
    notes += _narrow(dataset.images)
    maps = check_panoptic(panoptic, panoptic_masks, dataset, progress)
    training = _training_of(dataset, with_masks=with_masks)
    notes += _boxes_alone(dataset, training)
    return DataReport(
        digest=dataset.digest,
        image_count=len(dataset.images),
        annotation_count=dataset.annotation_count,
        crowd_count=dataset.crowd_count,
        learnable_images=len(training.images),
        learnable_objects=sum(training.object_counts.values()),
        categories=_category_counts(dataset, training),
        warnings=notes,
        left_out=training.left_out,
        images_checked=images is not None,
        images_decoded=decode,
        keypoint_count=dataset.keypoint_count,
        labelled_objects=sum(_labelled(one) for one in training.images),
        panoptic=maps,
    )


def _read(annotations: Path, images: Path | None) -> Dataset:
    """The data set of a file; IntegrityError where it lists no image."""
    dataset = read_dataset(annotations, images or annotations.parent)
    if not dataset.images:
        raise IntegrityError(f"{annotations} lists no image")
    return dataset


def _training_of(dataset: Dataset, *, with_masks: bool) -> TrainingSet:
    """What is learned from a file; from one of persons with keypoints, by a network of them."""
    keypoints = dataset.keypoint_count > 0  # a keypoint network has no masks
    return training_set(dataset, with_masks=with_masks and not keypoints, with_keypoints=keypoints)


def _category_counts(dataset: Dataset, training: TrainingSet) -> tuple[CategoryCount, ...]:
    """How many objects each category has."""
    counts = Counter(row["category_id"] for row in dataset.ground_truth["annotations"])
    return tuple(
        CategoryCount(
            category_id=one.category_id,
            name=one.name,
            annotations=counts[one.category_id],
            learnable=training.object_counts[one.category_id],
        )
        for one in dataset.categories
    )


def _boxes_alone(dataset: Dataset, training: TrainingSet) -> tuple[str, ...]:
    """A sentence where a network of boxes alone could learn what one with masks cannot."""
    if training.images:
        return ()
    boxes = sum(training_set(dataset, with_masks=False).object_counts.values())
    if not boxes:
        return ()
    return (
        f"a network with masks learns nothing from this file; {BOXES_ONLY}, or train a network of "
        f"boxes alone, for which there are {boxes:,} (--boxes-only)",
    )


def _narrow(images: Sequence[ImageRecord]) -> tuple[str, ...]:
    """A sentence where a resize, which is alike for all networks of the zoo, leaves nothing."""
    zoo = Architecture()
    narrow = too_narrow(images, zoo.short_edge_px, zoo.long_edge_max_px)
    if not narrow:
        return ()
    return (
        f"{counted(len(narrow), 'image is', 'images are')} too narrow to be resized for a "
        f"network, the first is {shown_text(narrow[0].file_name)}: training and evaluation refuse "
        "them",
    )


def _labelled(image: AnnotatedImage) -> int:
    """Objects of an image with a labelled keypoint."""
    points = image.keypoints
    return 0 if points is None else int((points[:, :, 2] > 0).any(axis=1).sum())


def require_folder_to_decode(images: Path | None, *, decode: bool) -> None:
    """Check that the folder of images is given where they are to be decoded.

    Raises:
        UsageError: It is not.
    """
    if decode and images is None:
        raise UsageError("--decode needs the images", hint="give their folder: --images DIR")


#: What corrects a kind of fault, the most particular first.
REMEDIES = {
    "turned": "to turn the objects with their images: harness data convert {file} --from coco "
    "--images {images} --output NEW",
    "path": "to write the paths as they are here: harness data convert {file} --from coco "
    "--images {images} --output NEW",
}
LEAVE_OUT = "to leave them out: harness data clean {file} --images {images} --output CLEAN"


def _require_images(
    dataset: Dataset, folder: Path, progress: Progress, *, decode: bool
) -> tuple[str, ...]:
    """What is odd about the images, a sentence each; IntegrityError where one is not as listed."""
    rows, file = dataset.ground_truth["images"], dataset.annotations_path
    _require_folder(rows, folder)
    with progress.task("images", total=len(rows), unit="img") as tick:
        found = list(image_faults(folder, rows, tick, decode=decode))
    faults = [one for one in found if one.kind != "wide"]
    if faults:
        named = "\n  ".join(one.text for one in faults[:NAMED])
        more = f"\n  … and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise IntegrityError(
            f"{counted(len(faults), 'image')} of {folder}:\n  {named}{more}",
            hint=_remedy(faults, file, folder, decode=decode),
        )
    if not found:
        return ()
    return (
        f"{counted(len(found), 'image')} of more than 8 bits of grey, the first is: "
        f"{found[0].text}; training and evaluation, like Detectron2, see all above 255 as white: "
        "save them as 8 bits",
    )


def _require_folder(rows: list[dict[str, object]], folder: Path) -> None:
    """Check that the folder has any of the images; otherwise it is another one's.

    Raises:
        IntegrityError: It has none, under their paths or their base names.
    """
    names = [PurePath(str(row["file_name"]).replace("\\", "/")) for row in rows]
    if any((folder / name).is_file() or (folder / name.name).is_file() for name in names):
        return
    inside = [one for one in sorted(folder.rglob(names[0].name)) if one.is_file()][:1]
    raise IntegrityError(
        f"none of the {len(rows)} images is in {folder}: it is probably another folder; the first "
        f"image is {shown(rows[0]['file_name'])}",
        hint=f"its file is below: {inside[0]}"
        if inside
        else "give the folder that the file names begin from: --images DIR",
    )


def _remedy(faults: list[ImageFault], file: Path, folder: Path, *, decode: bool) -> str:
    """The commands that correct the faults."""
    kinds = {one.kind for one in faults}
    wanted = list(dict.fromkeys(text for kind, text in REMEDIES.items() if kind in kinds))
    if kinds - REMEDIES.keys():
        wanted.append(LEAVE_OUT + (" --decode" if decode else ""))
    places = {"file": shlex.quote(str(file)), "images": shlex.quote(str(folder))}
    return "\n  ".join(text.format(**places) for text in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticReport:
    """What the panoptic annotations of a data set hold."""

    digest: str
    """sha256 of the file."""

    map_count: int
    """Images that it lists segments of, all of which were read."""

    segment_count: int
    """Segments that it lists."""

    thing_count: int
    """Kinds of single objects."""

    stuff_count: int
    """Kinds of stuff."""

    warnings: tuple[str, ...]
    """What is odd, but has a meaning, a sentence each."""


def check_panoptic(
    file: Path | None, folder: Path | None, dataset: Dataset, progress: Progress
) -> PanopticReport | None:
    """The report on panoptic annotations; every PNG is read.

    Args:
        file: In COCO's panoptic format; None where there are none.
        folder: Folder of its PNGs; None for the folder beside the file that has its name.
        dataset: Data set of the same images, with boxes and masks.
        progress: Receives progress.

    Raises:
        UsageError: The file or the folder is not there, or a folder is given alone.
        IntegrityError: The file is not valid, belongs to other images or categories, or PNGs are
            missing, unreadable, or of another size than their image.
    """
    if file is None:
        if folder is not None:
            raise UsageError("--panoptic-masks goes with --panoptic FILE")
        return None
    truth = read_panoptic(file, folder, dataset, option="--panoptic").panoptic
    assert truth is not None
    sizes = {one.image_id: (one.height_px, one.width_px) for one in dataset.images}
    require_pngs(truth, sizes)
    rows = [row for row in truth.rows if row["image_id"] in sizes]
    faults: list[IntegrityError] = []
    with progress.task("PNGs", total=len(rows), unit="img") as tick:
        every = list(_each(truth, rows, sizes, faults, tick))
    if faults:
        named = "\n  ".join(one.message for one in faults[:NAMED])
        more = f"\n  … and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise IntegrityError(
            f"{counted(len(faults), 'panoptic PNG')} of {truth.folder}:\n  {named}{more}",
            hint=truth.repair,
        )
    odd = Odd(*map(sum, zip(*every, strict=True)))
    return PanopticReport(
        digest=truth.digest,
        map_count=len(rows),
        segment_count=sum(len(row["segments_info"]) for row in rows),
        thing_count=len(truth.things),
        stuff_count=len(truth.stuff),
        warnings=tuple(odd_sentences(odd, file.name)),
    )


def _each(
    truth: PanopticTruth,
    rows: list[dict[str, Any]],
    sizes: Mapping[int, tuple[int, int]],
    faults: list[IntegrityError],
    advance: Advance,
) -> Iterator[Odd]:
    """Yield what is odd about each map; those that cannot be read are put among the faults."""
    for row in rows:
        advance(1)
        try:
            ids = read_ids(truth.folder / row["file_name"], sizes[row["image_id"]])
        except IntegrityError as fault:
            faults.append(fault)
        else:
            yield with_areas(ids, row["segments_info"])[1]
