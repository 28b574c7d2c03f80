"""``harness data clean``, ``split``, ``merge`` and ``subset``: annotation files in, files out.

Images may be copied along to a folder of their own.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.requests.data import CleanRequest, MergeRequest, SplitRequest, SubsetRequest
from harness.data.coco import read_annotations
from harness.data.convert.formats.coco import is_coco
from harness.data.convert.source_annotations import Counted, Tally
from harness.data.edit.cleaning import Cleaning, cleaned
from harness.data.edit.splitting import chosen_images, merged, split, subset
from harness.data.not_coco import foreign_annotations
from harness.files.atomic import replacing, write_text
from harness.files.failures import disk_errors
from harness.files.json import dumps
from harness.files.json import read as read_json
from harness.files.readable import resolved
from harness.workflows.datasets.check import require_folder_to_decode

#: What parts are called by default, by how many there are.
PART_NAMES = {1: ("train",), 2: ("train", "val"), 3: ("train", "val", "test")}


#: Folder of copied images beside an annotation file: with ``labels.json`` FiftyOne's layout.
COPIED = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryObjects:
    """One category of a written file."""

    category_id: int
    """Its id."""

    name: str
    """Its name."""

    objects: int
    """Its annotations."""

    boxes: int
    """Those of them without a mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One annotation file that was written."""

    path: Path
    """Where it is."""

    image_count: int
    """Images that it lists."""

    object_count: int
    """Annotations that it has."""

    categories: tuple[CategoryObjects, ...]
    """Categories by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditReport:
    """What went in and what came out."""

    files: tuple[Path, ...]
    """Files that were read."""

    image_count: int
    """Images that they list, together."""

    object_count: int
    """Annotations that they have, together."""

    written: tuple[Written, ...]
    """Files that were written."""

    images: Path | None = None
    """The folder that file names are relative to, where the action decides it."""

    dropped_images: tuple[Counted, ...] = ()
    """Images that are in no written file, by reason; not those that were not asked for."""

    dropped_objects: tuple[Counted, ...] = ()
    """Annotations that are in no written file, by reason; not those that were not asked for."""

    notes: tuple[Counted, ...] = ()
    """What is there, but not as it was."""


def counted_categories(content: dict[str, Any]) -> tuple[CategoryObjects, ...]:
    """The categories of an annotation file's content, with how many objects each has."""
    objects = Counter(row["category_id"] for row in content["annotations"])
    boxes = Counter(
        row["category_id"] for row in content["annotations"] if not row.get("segmentation")
    )
    return tuple(
        CategoryObjects(
            category_id=one["id"],
            name=one["name"],
            objects=objects[one["id"]],
            boxes=boxes[one["id"]],
        )
        for one in content["categories"]
    )


def clean(request: CleanRequest, progress: Progress) -> EditReport:
    """Write what is sound of a file; the original is not touched unless it is the output.

    Raises:
        IntegrityError: The file has not the three lists of COCO's format, its contradictions cannot
            be decided, or no image or no object is left.
    """
    require_folder_to_decode(request.images, decode=request.decode)
    content = read_json(request.file)
    foreign = foreign_annotations(content)
    if foreign is not None:
        raise IntegrityError(f"{request.file} is {foreign.what}", hint=foreign.hint)
    if not is_coco(content):
        raise IntegrityError(
            f"{request.file} is not a COCO annotation file: it lacks the lists images, annotations "
            "and categories",
            hint="annotations of another program: harness data convert",
        )
    if request.images is not None and not request.images.is_dir():
        raise UsageError(f"no such folder of images: {request.images}", hint="see --images")
    tally = Tally()
    wish = Cleaning(
        images=request.images,
        decode=request.decode,
        same_names=request.same_names,
        renumber=request.renumber,
        keep_boxes=request.keep_boxes,
        progress=progress,
    )
    after = cleaned(content, wish, tally)
    _require_something_left(request.file, content, after, tally)
    written = (_write(request.output, after),)
    return _report((request.file,), [content], written, tally, images=request.images)


def _require_something_left(
    file: Path, before: dict[str, Any], after: dict[str, Any], tally: Tally
) -> None:
    """Check that something is left of a file; one without annotations may stay without.

    Raises:
        IntegrityError: No image is left, or no object of all that there were.
    """
    reasons = [
        f"{counted(one.count, 'image')} {one.what} ({one.first})" for one in tally.images.values()
    ]
    if not after["images"]:
        left, reasons = "image", reasons or ["it lists none"]
    elif before["annotations"] and not after["annotations"]:
        left = "object"
        objects = tally.objects.values()
        reasons += [f"{counted(one.count, 'object')} {one.what} ({one.first})" for one in objects]
    else:
        return
    raise IntegrityError(
        f"no {left} of {file} is left, and nothing is written:\n  " + "\n  ".join(reasons),
        hint="correct the places listed above; annotations of another program are read by: "
        "harness data convert",
    )


def split_file(request: SplitRequest) -> EditReport:
    """Write the parts of a file: NAME.json in the folder asked for.

    Raises:
        UsageError: Fractions do not add up to 1, names do not fit them, or a part would be empty.
    """
    names = request.names or PART_NAMES.get(len(request.fractions), ())
    _require_parts(request, names)
    content = read_annotations(request.file)
    parts = split(content, request.fractions, request.seed)
    if not all(part["images"] for part in parts):
        count = len(content["images"])
        raise UsageError(f"{count} images are too few for the parts {', '.join(names)}")
    tally = Tally()
    for name, part in zip(names, parts, strict=True):
        for one in counted_categories(part):
            if not one.objects:
                tally.note(f"categories without an object in {name}", one.name)
    folder = request.output or request.file.parent
    paths = [folder / f"{name}.json" for name in names]
    for path in paths:
        _require_other(path, [request.file], "name the parts --names, or --output DIR")
    written = tuple(_write(path, part) for path, part in zip(paths, parts, strict=True))
    return _report((request.file,), [content], written, tally)


def _require_parts(request: SplitRequest, names: Sequence[str]) -> None:
    fractions = request.fractions
    whole = math.isclose(sum(fractions), 1, abs_tol=1e-9)
    if not fractions or not whole or not all(0 < one < 1 for one in fractions):
        given = ",".join(f"{one:g}" for one in fractions)
        raise UsageError(
            f"--fractions must be from 0 to 1 and add up to 1, got {given or 'none'}",
            hint="for instance --fractions 0.8,0.2",
        )
    if len(names) != len(fractions) or len(set(names)) != len(names):
        raise UsageError(
            f"{len(fractions)} fractions need as many names, got {', '.join(names) or 'none'}",
            hint="for instance --names train,val,test,rest",
        )


def merge(request: MergeRequest) -> EditReport:
    """Write one file with everything of several.

    With folders, file names become relative to the deepest folder that holds them all.

    Raises:
        IntegrityError: One file name stands for images of two sizes.
        UsageError: The output is one of the files, or a folder is not there.
    """
    _require_other(request.output, request.files, "give another --output")
    prefixes, root = [""] * len(request.files), None
    if request.folders:
        if len(request.folders) != len(request.files):
            raise UsageError(
                f"{len(request.files)} files need as many --folders, got {len(request.folders)}"
            )
        places = [resolved(folder) for folder in request.folders]
        for folder in places:
            if not folder.is_dir():
                raise UsageError(f"no such folder of images: {folder}", hint="see --folders")
        root = Path(os.path.commonpath(places))
        relative = [folder.relative_to(root).as_posix() for folder in places]
        prefixes = ["" if name == "." else f"{name}/" for name in relative]
    contents = [read_annotations(path) for path in request.files]
    tally = Tally()
    written = (_write(request.output, merged(contents, prefixes, tally)),)
    return _report(request.files, contents, written, tally, images=root)


def subset_file(request: SubsetRequest) -> EditReport:
    """Write some categories and some images of a file, and not in its place."""
    _require_other(request.output, [request.file], "give another --output")
    content = read_annotations(request.file)
    kept = subset(
        content,
        categories=request.categories,
        image_count=request.image_count,
        seed=request.seed,
        images=chosen_images(content, names=request.names, ids=request.ids, tags=request.tags),
    )
    folder = None
    if request.copy_images is not None:
        folder = request.output.parent / COPIED
        copy_images([row["file_name"] for row in kept["images"]], request.copy_images, folder)
    written = (_write(request.output, kept),)
    return _report((request.file,), [content], written, Tally(), images=folder)


def _require_other(output: Path, files: Sequence[Path], hint: str) -> None:
    """Raise UsageError where ``output`` would replace one of the files it is made from."""
    for file in files:
        if resolved(output) == resolved(file):
            raise UsageError(f"{output} would replace {file}, which is read", hint=hint)


def _write(path: Path, content: dict[str, Any]) -> Written:
    write_text(path, dumps(content) + "\n")
    return Written(
        path=path,
        image_count=len(content["images"]),
        object_count=len(content["annotations"]),
        categories=counted_categories(content),
    )


def _report(
    files: tuple[Path, ...],
    contents: Sequence[dict[str, Any]],
    written: tuple[Written, ...],
    tally: Tally,
    *,
    images: Path | None = None,
) -> EditReport:
    return EditReport(
        files=files,
        image_count=sum(len(content["images"]) for content in contents),
        object_count=sum(len(content["annotations"]) for content in contents),
        written=written,
        images=images,
        dropped_images=tuple(tally.images.values()),
        dropped_objects=tuple(tally.objects.values()),
        notes=tuple(tally.notes.values()),
    )


def copy_images(names: Sequence[str], source: Path, target: Path) -> None:
    """Copy files to the same names below another folder; one that is there is replaced.

    Args:
        names: Relative to both folders; they do not leave them.
        source: Where the files are.
        target: Where they go.

    Raises:
        UsageError: A file is missing, leaves its folder, or both folders are the same.
    """
    if resolved(source) == resolved(target):
        raise UsageError(f"{target} has the images already", hint="leave out --copy-images")
    root = resolved(source)
    for name in names:
        if not resolved(source / name).is_relative_to(root) or Path(name).is_absolute():
            raise UsageError(f"{name} is outside of {source}", hint="see: harness data clean")
    missing = [name for name in names if not (source / name).is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(names)} images are not in {source}, the first is {missing[0]}",
            hint="see --copy-images",
        )
    with disk_errors(target):
        for name in names:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                shutil.copyfile(source / name, temporary)
