"""COCO's panoptic format: a file that lists segments, and a PNG an image that says where they are.

A pixel's number is R + 256 · G + 65536 · B; 0 is no segment. The file decides every number, and is
checked as annotation files are: what would change a number without notice is an error.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from harness.core.dataset import Category, Dataset
from harness.core.errors import IntegrityError, UsageError
from harness.core.panoptic import PanopticTruth
from harness.core.printable import shown
from harness.data.image_files import open_image
from harness.data.shapes import finite, whole
from harness.files.digest import file_digest
from harness.files.json import read_with_digest

Ids = npt.NDArray[np.int32]

#: Where COCO's own are, for hints.
WHERE_FROM = (
    "COCO's are panoptic_val2017.json and the folder panoptic_val2017 of PNGs, in "
    "panoptic_annotations_trainval2017.zip: harness download --only panoptic"
)

#: What the user's own are, for hints, by the option that names them.
WHAT_THEY_ARE = (
    "{option} FILE is in COCO's panoptic format, and its PNGs are in the folder of its name or "
    "in {option}-masks"
)

#: By the names of COCO's own files, what downloads them with their PNGs.
DOWNLOADS = {
    "panoptic_val2017.json": "harness download --only panoptic",
    "panoptic_train2017.json": "harness download --only panoptic_train",
}

#: Numbers of segments have three bytes.
LARGEST_ID = (1 << 24) - 1

#: Bytes of one part of a path, at most (NAME_MAX of Linux and macOS).
LONGEST_NAME_BYTES = 255

#: Among what the record of a run resolved: the hash of the PNGs it was scored against.
PNGS_SHA256 = "panoptic_pngs_sha256"

#: Path.is_file raises for a path that is too long.
_is_file = os.path.isfile


def read_panoptic(
    path: Path, folder: Path | None, dataset: Dataset, *, option: str | None
) -> Dataset:
    """A data set with the panoptic annotations of its images.

    Args:
        path: Panoptic annotation file.
        folder: Its PNGs; None for the folder beside the file that has its name.
        dataset: Data set of the same images, with boxes and masks.
        option: That names the file, of the user's own; None for those of a known data set.

    Raises:
        UsageError: The file or the folder is not there.
        IntegrityError: The file is not valid, or belongs to other images or categories.
    """
    repair = repair_of(option, path.name)
    folder = path.with_suffix("") if folder is None else folder
    if not path.is_file():
        raise UsageError(f"no such file of panoptic annotations: {path}", hint=repair)
    content, digest = read_with_digest(path)
    truth = panoptic_truth(content, path, folder, digest, option=option)  # a file of another kind
    if not folder.is_dir():
        raise UsageError(f"no such folder of panoptic PNGs: {folder}", hint=repair)
    _require_same_things(truth, dataset)
    listed = {row["image_id"] for row in truth.rows}
    lacking = [one for one in dataset.images if one.image_id not in listed]
    if lacking:
        raise IntegrityError(
            f"{path} lists no segments of {len(lacking)} of {len(dataset.images)} images of "
            f"{dataset.annotations_path}, the first is image {lacking[0].image_id}",
            hint="give the panoptic annotations of the same images",
        )
    return replace(dataset, panoptic=truth)


def panoptic_truth(
    content: Any,
    path: Path,
    folder: Path,
    digest: str,
    *,
    option: str | None = None,
    repair: str = "",
) -> PanopticTruth:
    """The panoptic annotations of a parsed file.

    Args:
        content: What the file holds; ids become integers in place.
        path: Where it was read from.
        folder: Folder of its PNGs.
        digest: sha256 of the file.
        option: That names the file, of the user's own; None for those of a known data set.
        repair: What the user can do about a file that is missing or damaged; empty for what the
            option says.

    Raises:
        IntegrityError: It is not valid; names the row and what is wrong with it.
    """
    rows = _tables(content, path, option)
    categories = _categories(rows["categories"], path)
    require_rows(rows["annotations"], categories.keys(), path)
    ordered = [categories[number] for number in sorted(categories)]
    return PanopticTruth(
        annotations_path=path,
        folder=folder,
        digest=digest,
        things=tuple(category for category, is_thing in ordered if is_thing),
        stuff=tuple(category for category, is_thing in ordered if not is_thing),
        rows=tuple(sorted(rows["annotations"], key=lambda row: int(row["image_id"]))),
        repair=repair or repair_of(option, path.name),
    )


def _categories(rows: Sequence[Any], path: Path) -> dict[int, tuple[Category, bool]]:
    """Categories by id, and whether they are of single objects."""
    categories: dict[int, tuple[Category, bool]] = {}
    for position, one in enumerate(rows):
        number = whole(one.get("id")) if isinstance(one, Mapping) else None
        if number is None or not isinstance(one.get("name"), str) or number in categories:
            raise IntegrityError(
                f"{path}: categories[{position}] needs an id of its own and a name: {shown(one)}"
            )
        if one.get("isthing") not in (0, 1):
            raise IntegrityError(
                f"{path}: category {number} has isthing {shown(one.get('isthing'))}; expected 1 "
                "for single objects or 0 for stuff"
            )
        categories[number] = (Category(number, one["name"]), bool(one["isthing"]))
    return categories


def read_stuff(path: Path, option: str = "--panoptic") -> tuple[Category, ...]:
    """The kinds of stuff that a panoptic file lists, sorted by id; its PNGs need not be there.

    Args:
        path: In COCO's panoptic format.
        option: That names it, for messages.

    Raises:
        UsageError: It is not there.
        IntegrityError: It is no such file, or lists no stuff.
    """
    content, _ = read_with_digest(path)
    categories = _categories(_tables(content, path, option)["categories"], path)
    stuff = tuple(categories[one][0] for one in sorted(categories) if not categories[one][1])
    if not stuff:
        raise IntegrityError(f"{path} lists no stuff", hint=repair_of(option))
    return stuff


def repair_of(option: str | None, name: str = "") -> str:
    """What the user can do about a file that is missing or damaged.

    Args:
        option: That names the file, of the user's own; None for those of a known data set.
        name: Name of the file; one of COCO's own can be downloaded.
    """
    if option is None:
        return WHERE_FROM
    download = f"; COCO's: {DOWNLOADS[name]}" if name in DOWNLOADS else ""
    return f"{WHAT_THEY_ARE.format(option=option)}{download}"


def how_to_give(option: str) -> str:
    """What the user can do who has given no panoptic annotations.

    Args:
        option: That names them.
    """
    cocos = "panoptic_train2017.json" if "train" in option else "panoptic_val2017.json"
    return f"give them: {repair_of(option, cocos)}"


def _tables(content: Any, path: Path, option: str | None) -> dict[str, list[Any]]:
    """The lists of a panoptic file."""
    repair = repair_of(option)
    names = ("categories", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(n), list) for n in names):
        raise IntegrityError(
            f"{path} is not a panoptic annotation file: expected lists under categories and "
            f"annotations, found {shown(content)}",
            hint=repair,
        )
    rows = content["annotations"]
    if rows and not any(isinstance(row, Mapping) and "segments_info" in row for row in rows):
        raise IntegrityError(
            f"{path} is not a panoptic file: its annotations lack segments_info; boxes and masks "
            f"go to {(option or '--panoptic').replace('panoptic', 'annotations')}",
            hint=repair,
        )
    return content


def require_rows(rows: Sequence[Any], categories: Iterable[int], path: Path) -> None:
    """Check the annotations of a panoptic file; ids become integers in place.

    Args:
        rows: One an image.
        categories: Ids that are listed.
        path: Where they were read from.

    Raises:
        IntegrityError: A row is not valid.
    """
    known, seen = frozenset(categories), set()
    for position, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("segments_info"), list):
            raise IntegrityError(f"{path}: annotations[{position}] has no list segments_info")
        image, name = whole(row.get("image_id")), row.get("file_name")
        if image is None or image in seen:
            raise IntegrityError(
                f"{path}: annotations[{position}] has the image_id {shown(row.get('image_id'))}; "
                "expected an integer that no other row has"
            )
        seen.add(image)
        if not _is_relative_path(name):
            raise IntegrityError(f"{path}: image {image} names no PNG: {shown(name)}")
        row["image_id"] = image
        _require_segments(row["segments_info"], known, f"{path}: image {image}")


def _is_relative_path(name: Any) -> bool:
    """Whether a value can be the path of a file in a folder."""
    if not isinstance(name, str) or not name or "\0" in name or Path(name).is_absolute():
        return False
    parts = Path(name).parts
    return all(len(one.encode(errors="replace")) <= LONGEST_NAME_BYTES for one in parts)


def _require_segments(segments: Sequence[Any], categories: frozenset[int], where: str) -> None:
    numbers = set()
    for one in segments:
        number = whole(one.get("id")) if isinstance(one, dict) else None
        if number is None or not 0 < number <= LARGEST_ID or number in numbers:
            raise IntegrityError(
                f"{where} has the segment {shown(one)}; expected an id of its own from 1 to "
                f"{LARGEST_ID}"
            )
        numbers.add(number)
        category = whole(one.get("category_id"))
        if category is None or category not in categories:
            raise IntegrityError(
                f"{where}, segment {number} has category {shown(one.get('category_id'))}, which "
                "is not listed"
            )
        area = one.get("area", 0)
        if not finite([area]) or area < 0:
            raise IntegrityError(f"{where}, segment {number} has the area {shown(area)}")
        if one.get("iscrowd", 0) not in (0, 1):
            raise IntegrityError(f"{where}, segment {number} has iscrowd {shown(one['iscrowd'])}")
        one["id"], one["category_id"] = number, category


def _require_same_things(truth: PanopticTruth, dataset: Dataset) -> None:
    things = {one.category_id for one in truth.things}
    known = {one.category_id for one in dataset.categories}
    if things != known:
        apart = sorted(things ^ known)
        raise IntegrityError(
            f"{truth.annotations_path} and {dataset.annotations_path} have different categories "
            f"of single objects: {apart[:8]} are in one of them only",
            hint="the things of a panoptic file are the categories of the annotation file",
        )


def read_ids(path: Path, size: tuple[int, int] | None = None, *, repair: str | None = None) -> Ids:
    """The number of each pixel's segment.

    Args:
        path: A PNG of three channels.
        size: (height, width) it must have; None for any.
        repair: What the user can do about a file that is no such PNG; None where it is not known.

    Returns:
        (height, width) int32, 0 for none.

    Raises:
        IntegrityError: It is missing, no such PNG, or of another size.
    """
    if not _is_file(path):
        raise IntegrityError(
            f"{path} cannot be read as a PNG of segments: it is missing", hint=repair
        )
    try:
        with open_image(path) as picture:
            kind, mode = picture.format, picture.mode
            if kind != "PNG" or mode not in ("RGB", "RGBA"):
                raise IntegrityError(
                    f"{path} is a {kind} of mode {mode}; expected a PNG of three channels, whose "
                    "pixels are numbers of segments",
                    hint=repair,
                )
            if size is not None and (picture.height, picture.width) != size:
                raise IntegrityError(
                    f"{path} is {picture.width} × {picture.height} px, its image is "
                    f"{size[1]} × {size[0]} px",
                    hint=repair,
                )
            pixels = np.asarray(picture)[:, :, :3].astype(np.int32)
    except IntegrityError:
        raise
    except Exception as error:  # Pillow's decoder raises anything on damaged bytes
        raise IntegrityError(
            f"{path} cannot be read as a PNG of segments: {error}", hint=repair
        ) from error
    ids: Ids = pixels[:, :, 0] + (pixels[:, :, 1] << 8) + (pixels[:, :, 2] << 16)
    return ids


def png_of(ids: Ids) -> bytes:
    """A PNG whose pixels are the numbers of segments.

    Args:
        ids: (H, W) int32, 0 to 2²⁴ − 1.
    """
    channels = np.stack([(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=2)
    content = io.BytesIO()
    # A map is large areas of one colour: the fastest setting already makes a few kilobytes of it.
    PillowImage.fromarray(channels).save(content, format="PNG", compress_level=1)
    return content.getvalue()


def require_pngs(truth: PanopticTruth, image_ids: Iterable[int]) -> None:
    """Check that no PNG is missing, before the first image is inferred.

    Raises:
        IntegrityError: One or more are; the first is named.
    """
    wanted = frozenset(image_ids)
    rows = [row for row in truth.rows if row["image_id"] in wanted]
    missing = [row for row in rows if not _is_file(truth.folder / row["file_name"])]
    if missing:
        raise IntegrityError(
            f"{len(missing)} of {len(rows)} panoptic PNGs are missing in {truth.folder}, the first "
            f"is {missing[0]['file_name']}",
            hint=truth.repair or None,
        )


def digest_of_pngs(truth: PanopticTruth, image_ids: Collection[int]) -> str:
    """Return the sha256 of names and contents of the PNGs of some images.

    Raises:
        IntegrityError: One is missing.
    """
    require_pngs(truth, image_ids)
    wanted, found = frozenset(image_ids), hashlib.sha256()
    for row in sorted(truth.rows, key=lambda one: one["image_id"]):
        if row["image_id"] in wanted:
            content = file_digest(truth.folder / row["file_name"])
            name = row["file_name"].encode("utf-8", "surrogateescape")
            found.update(b"%s\0%s\n" % (name, content.encode()))
    return found.hexdigest()
