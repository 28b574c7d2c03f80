"""YOLO: a text file an image; of each line a class number, then shares of the image.

Four shares are a box (centre, size), six or more an outline. The text files lie where the path of
the image has ``labels`` instead of ``images``, or beside the image. An image without one, or with
an empty one, has no objects. Names are in ``data.yaml``, ``classes.txt`` or a ``.names`` file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.core.errors import IntegrityError, UsageError
from harness.data.convert.geometry import box_outline
from harness.data.convert.image_matching import Photographs
from harness.data.convert.source_annotations import UNIT, Drawn, DrawnObject, Tally

NAME_FILES = ("classes.txt", "*.names")

#: Text files that stand about in such folders and are not labels.
NO_LABELS = ("classes", "readme", "requirements", "train", "val", "test", "notes")


def read(
    source: Path,
    photographs: Photographs,
    tally: Tally,
    *,
    names: Sequence[str] | None = None,
    part: str | None = None,
) -> tuple[list[str], Iterator[Drawn]]:
    """The class names in the order of their numbers, and a drawing an image.

    names: used where no file has them. part: only the images under this key of ``data.yaml``.
    """
    described = _described(source)
    found = _names(source, described) or list(names or ())
    if not found:
        raise UsageError(
            f"{source} does not say what its classes are called: no data.yaml, no classes.txt",
            hint="name them in the order of their numbers: --categories A,B,C",
        )
    folder = source if source.is_dir() else source.parent
    wanted = photographs.names
    if part is not None:
        prefixes = _part(source, described, part)
        wanted = [one for one in wanted if _below(photographs.folder / one, folder, prefixes)]
    return found, _drawings(folder, wanted, photographs, found, tally, whole=part is None)


def _described(source: Path) -> dict[str, Any]:
    import yaml

    paths = [source] if source.is_file() else sorted(source.glob("*.y*ml"))
    for path in paths:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise IntegrityError(f"{path} is not YAML: {error}") from None
        if isinstance(content, dict) and "names" in content:
            return content
    return {}


def _names(source: Path, described: dict[str, Any]) -> list[str]:
    names = described.get("names")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise IntegrityError(f"{source}: the numbers of names leave gaps: {sorted(names)}")
        return [str(names[number]) for number in sorted(names)]
    if isinstance(names, list):
        return [str(name) for name in names]
    folder = source if source.is_dir() else source.parent
    for pattern in NAME_FILES:
        for path in sorted(folder.rglob(pattern)):
            return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    return []


def _part(source: Path, described: dict[str, Any], part: str) -> list[str]:
    """The folders of images of one part, as data.yaml writes them."""
    parts = [key for key in ("train", "val", "test") if described.get(key)]
    if part not in parts:
        raise UsageError(
            f"{source} has no part called {part}",
            hint=f"--part takes one of {', '.join(parts) or 'none: there is no data.yaml'}",
        )
    told = described[part]
    return [str(one) for one in (told if isinstance(told, list) else [told])]


def _below(path: Path, folder: Path, prefixes: Sequence[str]) -> bool:
    """Whether an image lies in a folder that data.yaml names; leading dots mean little there."""
    place = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    for prefix in prefixes:
        parts = [one for one in PurePosixPath(prefix.replace("\\", "/")).parts if one not in "../"]
        if parts and place.startswith("/".join(parts) + "/"):
            return True
    return False


def _drawings(
    folder: Path,
    wanted: Sequence[str],
    photographs: Photographs,
    names: Sequence[str],
    tally: Tally,
    *,
    whole: bool,
) -> Iterator[Drawn]:
    used = set()
    for name in wanted:
        path = _labels_of(name, photographs.folder, folder)
        if path is None:
            where = str(photographs.folder / name)
            tally.note("image(s) without a label file: taken as images without objects", where)
        else:
            used.add(path.resolve())
        yield Drawn(
            where=str(path or photographs.folder / name),
            names=(name,),
            beside=photographs.folder,
            frame=UNIT,
            size_px=None,
            objects=() if path is None else tuple(_objects(path, names, tally)),
        )
    for path in sorted(folder.rglob("*.txt")) if whole else ():
        if path.resolve() not in used and path.stem.casefold() not in NO_LABELS:
            tally.note("text file(s) that belong to no image: passed over", str(path))


def _labels_of(name: str, images: Path, folder: Path) -> Path | None:
    text = PurePosixPath(name).with_suffix(".txt")
    parts = (images / text).parts
    places = [images / text, folder / "labels" / text, folder / "labels" / text.name]
    swapped = [i for i, part in enumerate(parts) if part == "images"]
    if swapped:
        last = swapped[-1]
        places.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :]))
    return next((place for place in places if place.is_file()), None)


def _objects(path: Path, names: Sequence[str], tally: Tally) -> Iterator[DrawnObject]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise IntegrityError(f"{path} is no text") from None
    for number, line in enumerate(lines, start=1):
        where = f"{path}: line {number}"
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split()]
            kind, shares = round(values[0]), values[1:]
        except (ValueError, OverflowError):
            tally.drop("that are not numbers", f"{where}: {line[:60]}")
            continue
        if kind != values[0] or not 0 <= kind < len(names):
            tally.drop(f"of a class number beyond the {len(names)} names", where)
        elif len(shares) == 4:
            x, y, width, height = shares
            box = box_outline(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            yield DrawnObject(category=names[kind], where=where, outlines=(box,), is_box=True)
        elif len(shares) >= 6 and len(shares) % 2 == 0:
            yield DrawnObject(category=names[kind], where=where, outlines=(shares,))
        else:
            tally.drop(f"with {len(shares)} numbers: neither a box nor an outline", where)
