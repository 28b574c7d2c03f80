"""YOLO: a text file an image; of each line a class number, then shares of the image.

Four shares are a box (centre, size), six or more an outline. Where ``data.yaml`` has ``kpt_shape``,
keypoints follow the box, of two numbers or three. The text files are where the path of the image
has ``labels`` instead of ``images``, or beside the image. An image without one, or with an empty
one, has no objects. Names are in ``data.yaml``, ``classes.txt`` or a ``.names`` file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import counted, shown
from harness.data.convert.formats.yaml_text import names_in, read_yaml
from harness.data.convert.geometry import box_outline
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import UNIT, SourceAnnotations, SourceObject, Tally
from harness.data.fields import number_of, whole_number_of
from harness.data.own_results import files_below
from harness.data.text_files import read_lines
from harness.files.readable import resolved

NAME_FILES = ("classes.txt", "*.names")

#: Text files that are in such folders and are not labels.
NO_LABELS = ("classes", "readme", "requirements", "train", "val", "test", "notes", "labels")

#: Of shares of an image that were rounded to a pixel of 1,000 at least.
ROUNDING = 2e-3

#: The visibility of a keypoint: not labelled, hidden, visible.
VISIBILITIES = (0, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFormat:
    """How the lines of label files are read."""

    names: tuple[str, ...]
    """Class names in the order of their numbers."""

    keypoint_numbers: int
    """How many numbers of keypoints follow a box; 0 where there are none."""

    encoding: str | None
    """Of the files, where that is not certain."""


def read(
    source: Path,
    images: ImageFolder,
    tally: Tally,
    *,
    names: Sequence[str] | None = None,
    part: str | None = None,
    encoding: str | None = None,
) -> tuple[list[str], Iterator[SourceAnnotations]]:
    """The class names in the order of their numbers, and the annotations of every image.

    Args:
        source: The folder, or its ``data.yaml``.
        images: The images; each looks for its label file.
        tally: What is left out is counted here.
        names: Used where no file has them.
        part: Only the images under this key of ``data.yaml``; None for all.
        encoding: Encoding of the text files, where that is not certain.

    Raises:
        IntegrityError: A file is not what it should be.
        UsageError: Nothing names the classes, or there is no such part.
    """
    described = _described(source, encoding)
    found = _names(source, described, encoding, tally) or list(names or ())
    if not found:
        raise UsageError(
            f"{source} does not say what its classes are called: no data.yaml, no classes.txt",
            hint="name them in the order of their numbers: --categories A,B,C",
        )
    folder = source if source.is_dir() else source.parent
    wanted = images.names
    if part is not None:
        prefixes = _part(source, described, part)
        wanted = [one for one in wanted if _below(images.folder / one, folder, prefixes)]
    line_format = LineFormat(
        names=tuple(found), keypoint_numbers=_keypoint_numbers(source, described), encoding=encoding
    )
    return found, _annotations(folder, wanted, images, line_format, tally, whole=part is None)


def described_in(folder: Path, encoding: str | None = None) -> dict[str, Any]:
    """The content of the YAML file of a folder that names classes; empty where there is none."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        content = read_yaml(path, encoding=encoding)
        if isinstance(content, dict) and "names" in content:
            return content
    return {}


def _described(source: Path, encoding: str | None) -> dict[str, Any]:
    if source.is_dir():
        return described_in(source, encoding)
    content = read_yaml(source, encoding=encoding)
    return content if isinstance(content, dict) and "names" in content else {}


def _names(
    source: Path, described: Mapping[str, Any], encoding: str | None, tally: Tally
) -> list[str]:
    listed = names_in(described.get("names"), source)
    _require_count(listed, described.get("nc"), source)
    folder = source if source.is_dir() else source.parent
    lists = {
        path: _lines_of_names(path, encoding, counted=not listed)
        for pattern in NAME_FILES
        for path in sorted(files_below(folder, pattern))
    }
    found = {path: names for path, names in lists.items() if names}
    if listed:
        others = [path for path, names in found.items() if list(names) != listed]
        if others:
            tally.note("class lists unlike data.yaml, which counts", str(others[0]), len(others))
        return listed
    if len(set(found.values())) > 1:
        raise UsageError(
            f"{source} has class lists that differ: {', '.join(map(str, [*found][:3]))}",
            hint="convert the folders one by one, or name the classes: --categories A,B,C "
            "without those files",
        )
    return list(next(iter(found.values()), ()))


def _require_count(listed: Sequence[str], count: Any, source: Path) -> None:
    """Check that there are as many names as data.yaml says; one more or less shifts the others.

    Raises:
        IntegrityError: There are not.
    """
    try:
        known = len(listed) if count is None else whole_number_of(count)
    except ValueError:
        known = -1
    if listed and known != len(listed):
        named = counted(len(listed), "class has a name", "classes have a name")
        raise IntegrityError(
            f"{source}: {named}, and nc is {shown(count)}",
            hint="correct the one or the other: a missing name gives others the wrong number",
        )


def _lines_of_names(path: Path, encoding: str | None, *, counted: bool) -> tuple[str, ...]:
    """The names of a class list, one a line.

    Args:
        path: The list.
        encoding: Of the file, where that is not certain.
        counted: Whether its lines are what classes are numbered by.

    Raises:
        IntegrityError: They are, and a line between or before names is empty: some programs count
            it and some do not.
    """
    lines = [line.strip() for line in read_lines(path, encoding=encoding)]
    while lines and not lines[-1]:
        lines.pop()
    if counted and "" in lines:
        raise IntegrityError(
            f"{path}: line {lines.index('') + 1} is empty, with names behind it: it is not clear "
            "which numbers these have",
            hint="remove the line, or write the name of the class there",
        )
    return tuple(filter(None, lines))


def _keypoint_numbers(source: Path, described: Mapping[str, Any]) -> int:
    shape = described.get("kpt_shape")
    if shape is None:
        return 0
    try:
        points, each = map(whole_number_of, shape)
    except (TypeError, ValueError):
        points, each = 0, 0
    if points < 1 or each not in (2, 3):
        raise IntegrityError(
            f"{source}: kpt_shape is {str(shape)[:60]}; expected a number of keypoints and 2 or 3"
        )
    return points * each


def _part(source: Path, described: Mapping[str, Any], part: str) -> list[str]:
    """The folders of images of one part, as data.yaml writes them."""
    parts = [key for key in ("train", "val", "test") if described.get(key) not in (None, "", [])]
    if part not in parts:
        raise UsageError(
            f"{source} has no part called {part}",
            hint=f"--part takes one of {', '.join(parts) or 'none: there is no data.yaml'}",
        )
    listed = described[part]
    return [str(one) for one in (listed if isinstance(listed, list) else [listed])]


def _below(path: Path, folder: Path, prefixes: Sequence[str]) -> bool:
    """Whether an image is in a folder that data.yaml names; leading dots mean little there."""
    place = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    for prefix in prefixes:
        parts = [one for one in PurePosixPath(prefix.replace("\\", "/")).parts if one not in "../"]
        if parts and place.startswith("/".join(parts) + "/"):
            return True
    return False


def _annotations(
    folder: Path,
    wanted: Sequence[str],
    images: ImageFolder,
    line_format: LineFormat,
    tally: Tally,
    *,
    whole: bool,
) -> Iterator[SourceAnnotations]:
    used = set()
    stems = Counter(PurePosixPath(name).stem for name in images.names)
    for name in wanted:
        alone = stems[PurePosixPath(name).stem] == 1
        path = _labels_of(name, images.folder, folder, alone=alone)
        if path is None:
            where = str(images.folder / name)
            tally.note("images without a label file: taken as images without objects", where)
        else:
            used.add(resolved(path))
        yield SourceAnnotations(
            where=str(path or images.folder / name),
            names=(name,),
            beside=images.folder,
            frame=UNIT,
            size_px=None,
            objects=() if path is None else tuple(_objects(path, line_format, tally)),
        )
    for path in sorted(files_below(folder, "*.txt")) if whole else ():
        if resolved(path) not in used and path.stem.casefold() not in NO_LABELS:
            _count_orphan(path, line_format, tally)


def _count_orphan(path: Path, line_format: LineFormat, tally: Tally) -> None:
    """Count the objects of a label file that belongs to no image."""
    objects = sum(is_label_line(line) for line in read_lines(path, encoding=line_format.encoding))
    tally.note("text files that belong to no image: skipped", str(path))
    if objects:
        tally.drop("of label files that belong to no image", str(path), objects)


def is_label_line(line: str) -> bool:
    """Whether a line of text is one of a label file: a class number, and four numbers or more."""
    try:
        values = [number_of(word) for word in line.split()]
    except ValueError:
        return False
    return len(values) >= 5 and values[0] >= 0 and values[0] == int(values[0])


def _labels_of(name: str, images: Path, folder: Path, *, alone: bool) -> Path | None:
    """The label file of an image; by its bare name only where no other image has that."""
    text = PurePosixPath(name).with_suffix(".txt")
    parts = (images / text).parts
    places = [images / text, folder / "labels" / text]
    if alone:
        places.append(folder / "labels" / text.name)
    swapped = [i for i, part in enumerate(parts) if part == "images"]
    if swapped:
        last = swapped[-1]
        places.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :]))
    return next((place for place in places if place.is_file()), None)


def _objects(path: Path, line_format: LineFormat, tally: Tally) -> Iterator[SourceObject]:
    for number, line in enumerate(read_lines(path, encoding=line_format.encoding), start=1):
        where = f"{path}: line {number}"
        if not line.strip():
            continue
        try:
            kind, *shares = (number_of(word) for word in line.split())
        except ValueError:
            tally.drop("that are not numbers", f"{where}: {line[:60]}")
            continue
        if kind != int(kind) or not 0 <= kind < len(line_format.names):
            tally.drop(f"of a class number beyond the {len(line_format.names)} names", where)
            continue
        one = _object(line_format.names[int(kind)], shares, line_format, where, tally)
        if one is not None:
            yield one


def _object(
    category: str, shares: list[float], line_format: LineFormat, where: str, tally: Tally
) -> SourceObject | None:
    """The object of one line; None, and counted, for what is none."""
    points = line_format.keypoint_numbers
    if points and len(shares) == 4 + points:
        tally.note("objects with keypoints: their boxes are kept, keypoints are not", where)
        shares = shares[:4]
    if len(shares) == 4:
        x, y, width, height = shares
        if min(width, height) < 0:
            tally.note("boxes with a negative side: taken without its sign", where)
        box = box_outline(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return SourceObject(category=category, where=where, outlines=(box,), is_box=True)
    if not points and _looks_like_pose(shares):
        tally.drop("that look like keypoints: data.yaml has no kpt_shape", where)
    elif not points and len(shares) >= 6 and len(shares) % 2 == 0:
        if len(shares) == 8 and _is_turned_box(shares):
            tally.note(
                "outlines of four corners that are turned boxes, as of YOLO-OBB: read as masks",
                where,
            )
        return SourceObject(category=category, where=where, outlines=(shares,))
    else:
        wanted = f"a box and {points} of keypoints" if points else "neither a box nor an outline"
        tally.drop(f"with {len(shares)} numbers: {wanted}", where)
    return None


def _is_turned_box(shares: Sequence[float]) -> bool:
    """Whether four corners are those of a box, which is turned: opposite sides are alike, whatever
    the shape of the image, but for rounding.
    """
    xs, ys = shares[::2], shares[1::2]
    alike = all(abs(one[0] - one[1] + one[2] - one[3]) < ROUNDING for one in (xs, ys))
    upright = len({round(x, 4) for x in xs}) == 2 and len({round(y, 4) for y in ys}) == 2
    return alike and not upright


def _looks_like_pose(shares: Sequence[float]) -> bool:
    """Whether a box and keypoints of x, y and visibility: 2 is not a share of an image."""
    seen = shares[6::3]
    return len(shares) % 3 == 1 and 2 in seen and all(one in VISIBILITIES for one in seen)
