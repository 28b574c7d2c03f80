"""``harness data check``: everything training and scoring would stumble over, told beforehand."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import IntegrityError
from harness.core.progress import Progress
from harness.data.coco import read_dataset
from harness.data.image_files import ImageFault, image_faults
from harness.data.objects import training_set

#: Faulty images named in the error.
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCount:
    """annotations: of the category in the file. learnable: what training keeps of them."""

    category_id: int
    name: str
    annotations: int
    learnable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What a data set holds. warnings: odd, but with a meaning. left_out: not for training."""

    digest: str
    image_count: int
    annotation_count: int
    crowd_count: int
    learnable_images: int
    learnable_objects: int
    categories: tuple[CategoryCount, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    images_checked: bool


def check_data(
    annotations: Path, images: Path | None, *, with_masks: bool, progress: Progress
) -> DataReport:
    """The report on an annotation file and, where a folder is given, on its images.

    Raises IntegrityError for what cannot be used: a file that is not COCO's, images that are
    missing, unreadable, or of another size than listed.
    """
    dataset = read_dataset(annotations, images or annotations.parent)
    content = dataset.ground_truth
    if not dataset.images:
        raise IntegrityError(f"{annotations} lists no image")
    notes = dataset.warnings
    if images is not None:
        notes += _require_images(content["images"], annotations, images, progress)
    counts = Counter(row["category_id"] for row in content["annotations"])
    training = training_set(dataset, with_masks=with_masks)
    return DataReport(
        digest=dataset.digest,
        image_count=len(dataset.images),
        annotation_count=dataset.annotation_count,
        crowd_count=dataset.crowd_count,
        learnable_images=len(training.images),
        learnable_objects=sum(training.object_counts.values()),
        categories=tuple(
            CategoryCount(
                category_id=one.category_id,
                name=one.name,
                annotations=counts[one.category_id],
                learnable=training.object_counts[one.category_id],
            )
            for one in dataset.categories
        ),
        warnings=notes,
        left_out=training.left_out,
        images_checked=images is not None,
    )


#: What puts right a kind of fault, the most particular first.
REMEDIES = {
    "turned": "to turn the objects with their images: harness data convert {file} --from coco "
    "--images {images} --output NEW",
    "path": "to write the paths as they are here: harness data convert {file} --from coco "
    "--images {images} --output NEW",
}
LEAVE_OUT = "to leave them out: harness data clean {file} --images {images} --output CLEAN"


def _require_images(
    rows: list[dict[str, object]], file: Path, folder: Path, progress: Progress
) -> tuple[str, ...]:
    """What is odd about the images, a sentence each; IntegrityError where one is not as listed."""
    with progress.task("images", total=len(rows), unit="img") as tick:
        found = list(image_faults(folder, rows, tick))
    faults = [one for one in found if one.kind != "wide"]
    if faults:
        shown = "\n  ".join(one.text for one in faults[:NAMED])
        more = f"\n  … and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise IntegrityError(
            f"{len(faults)} image(s) of {folder}:\n  {shown}{more}",
            hint=_remedy(faults, file, folder),
        )
    if not found:
        return ()
    return (
        f"{len(found)} image(s) of more than 8 bits of grey, the first is: {found[0].text}; "
        "training and evaluation, like Detectron2, see all above 255 as white: save them as 8 bits",
    )


def _remedy(faults: list[ImageFault], file: Path, folder: Path) -> str:
    """The commands that put the faults right."""
    kinds = {one.kind for one in faults}
    wanted = list(dict.fromkeys(text for kind, text in REMEDIES.items() if kind in kinds))
    if kinds - REMEDIES.keys():
        wanted.append(LEAVE_OUT)
    places = {"file": shlex.quote(str(file)), "images": shlex.quote(str(folder))}
    return "\n  ".join(text.format(**places) for text in wanted)
