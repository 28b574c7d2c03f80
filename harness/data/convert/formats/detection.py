"""Which format annotations are in: what a folder holds is weighed, and two formats are an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harness.core.errors import HarnessError, UsageError
from harness.core.printable import counted
from harness.core.requests.data import FORMATS, Format
from harness.data.convert.formats import coco, labelme, labelstudio, openimages, yolo
from harness.data.own_results import files_below
from harness.data.text_files import read_json, read_lines
from harness.files.readable import resolved

#: Files of each ending that are looked into; the others are like them.
LOOKED_INTO = 200

#: Bytes of a text file in which its first lines are.
HEAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Files that only one format has."""

    kind: Format
    """The format."""

    count: int
    """How many of the files that were looked into."""

    first: Path
    """The first of them."""


def detected(source: Path, *, encoding: str | None = None, besides: Path | None = None) -> Format:
    """The format of a file or folder.

    Args:
        source: File or folder.
        encoding: Encoding of its text files, where that is not certain.
        besides: A file that does not count: the one that will be written.

    Raises:
        UsageError: It is in no known format, or a folder with several; lists what was found.
    """
    if not source.exists():
        raise UsageError(f"no such file or folder: {source}")
    if source.is_file():
        kind = _of_file(source, encoding)
        if kind is None:
            raise _unknown(source)
        return kind
    found = sorted(evidence(source, encoding, besides), key=lambda one: -one.count)
    if len(found) > 1:
        listed = ", ".join(
            f"{one.kind} ({counted(one.count, 'file')}, {one.first.name})" for one in found
        )
        raise UsageError(
            f"{source} has annotations of several formats: {listed}",
            hint=f"name one: --from {'|'.join(one.kind for one in found)}",
        )
    if found:
        return found[0].kind
    if yolo.described_in(source, encoding):
        return "yolo"  # a data set of which no image has an object, or an error with this reason
    raise _unknown(source)


def _unknown(source: Path) -> UsageError:
    names = sorted(path.name for path in source.iterdir())[:4] if source.is_dir() else []
    there = f"; there are {', '.join(names)}, …" if names else ""
    return UsageError(
        f"the format of these annotations is not clear: {source}{there}",
        hint=f"name it: --from {'|'.join(FORMATS)}",
    )


def evidence(folder: Path, encoding: str | None, besides: Path | None) -> Iterator[Evidence]:
    """The formats that a folder has files of.

    Args:
        folder: Is searched with all below it.
        encoding: Encoding of its text files, where that is not certain.
        besides: A file that does not count.
    """
    found: dict[Format, list[Path]] = {}
    for path in _files(folder, besides):
        kind = _of_file(path, encoding)
        if kind is not None and path.suffix.lower() not in (".yaml", ".yml"):
            found.setdefault(kind, []).append(path)
    for kind, paths in found.items():
        yield Evidence(kind=kind, count=len(paths), first=paths[0])


def _files(folder: Path, besides: Path | None) -> Iterator[Path]:
    ours = None if besides is None else resolved(besides)
    for pattern in ("*.xml", "*.json", "*.csv", "*.txt"):
        paths: Iterable[Path] = (
            one for one in sorted(files_below(folder, pattern)) if one.is_file()
        )
        yield from islice((one for one in paths if resolved(one) != ours), LOOKED_INTO)


def _of_file(path: Path, encoding: str | None) -> Format | None:
    match path.suffix.lower():
        case ".json":
            return _of_json(path, encoding)
        case ".csv":
            return "openimages" if openimages.columns_of(path) else None
        case ".xml":
            return "voc" if _begins_as_voc(path) else None
        case ".yaml" | ".yml":
            return "yolo"
        case ".txt":
            return "yolo" if _begins_as_labels(path, encoding) else None
    return None


def _of_json(path: Path, encoding: str | None) -> Format | None:
    content = read_json(path, encoding=encoding)
    if labelstudio.is_labelstudio(content):
        return "labelstudio"
    if labelme.is_labelme(content):
        return "labelme"
    return "coco" if coco.is_coco(content) else None


def _begins_as_voc(path: Path) -> bool:
    """Whether an XML file names VOC's root near its beginning; broken ones count, to be refused."""
    with path.open("rb") as file:
        head = file.read(HEAD).replace(b"\0", b"")
    return b"<annotation>" in head or b"<annotation " in head or b"<annotation\n" in head


def _begins_as_labels(path: Path, encoding: str | None) -> bool:
    """Whether the first line of a text file is one of YOLO's labels."""
    if path.stem.casefold() in yolo.NO_LABELS:
        return False
    try:
        lines = read_lines(path, encoding=encoding)
    except HarnessError:
        return False
    return yolo.is_label_line(next((line for line in lines if line.strip()), ""))
