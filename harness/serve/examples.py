"""Images to try the model on: of its own data set, where that is on this machine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.model import ModelEntry
from harness.core.run_files import EVALUATIONS, RUN_PAGE
from harness.data.catalog import COCO_LAYOUT, SYNTHETIC_SPLITS
from harness.data.coco import read_annotations

EXAMPLES = 6

#: Of files that browsers show.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def own_examples(images: Path, annotations: Path | None) -> tuple[Path, ...]:
    """Return a few images of the user's own.

    Args:
        images: Their folder.
        annotations: COCO file that lists them: then those with the most objects are taken; None for
            the first ones by name.

    Raises:
        UsageError: There is no such folder, or no image in it.
    """
    if not images.is_dir():
        raise UsageError(f"no such folder of images: {images}", hint="see --images")
    if annotations is None:
        found = sorted(one for one in images.iterdir() if one.suffix.lower() in SUFFIXES)
    else:
        content = read_annotations(annotations)
        objects = Counter(row["image_id"] for row in content["annotations"])
        rows = sorted(content["images"], key=lambda row: (-objects[row["id"]], row["id"]))
        places = (images / row["file_name"] for row in rows if objects[row["id"]])
        found = [place for place in places if place.is_file()]
    if not found:
        raise UsageError(f"{images} has none of the images", hint="see --images and --annotations")
    return tuple(found[:EXAMPLES])


def find_report(weights: Path | None) -> Path | None:
    """Return the page about the weights that a training left beside them; None without one."""
    if weights is None:
        return None
    pages = [weights.parent / RUN_PAGE, *sorted(weights.parent.glob(f"{EVALUATIONS}/*/{RUN_PAGE}"))]
    found = [page for page in pages if page.is_file()]
    return found[-1] if found else None


def drawing_of(report: Path | None, image_id: int) -> Path | None:
    """Return the drawing of an image that a report links to; None without one."""
    if report is None:
        return None
    path = report.parent / "show" / "pictures" / f"{image_id}.jpg"
    return path if path.is_file() else None


def find_examples(entry: ModelEntry, root: Path) -> tuple[Path, ...]:
    """Return a few images of the data set that the model's numbers are measured on.

    The embedded data set is generated where it is missing.

    Args:
        entry: The model.
        root: The folder with the data sets.

    Returns:
        At most six files, sorted by name; none where the data set is not on this machine.
    """
    if entry.dataset in SYNTHETIC_SPLITS:
        from harness.data.synthetic import generate

        folder = generate(entry.dataset, root) / "images"
    elif entry.dataset in COCO_LAYOUT:
        folder = root / COCO_LAYOUT[entry.dataset][1]
    else:
        return ()
    return tuple(sorted(folder.glob("*.jpg")) or sorted(folder.glob("*.png")))[:EXAMPLES]
