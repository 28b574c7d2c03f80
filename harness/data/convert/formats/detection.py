"""Which format annotations are in, told from what lies there."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import UsageError
from harness.core.requests.data import FORMATS, Format
from harness.data.convert.formats import coco, labelme, labelstudio, openimages
from harness.files.json import read as read_json


def detected(source: Path) -> Format:
    """The format of a file or folder; UsageError, with what was found, when it is none of ours."""
    if not source.exists():
        raise UsageError(f"no such file or folder: {source}")
    found = _of_folder(source) if source.is_dir() else _of_file(source)
    if found is None:
        names = sorted(path.name for path in source.iterdir())[:4] if source.is_dir() else []
        there = f"; there are {', '.join(names)}, …" if names else ""
        raise UsageError(
            f"cannot tell which annotations these are: {source}{there}",
            hint=f"say so: --from {'|'.join(FORMATS)}",
        )
    return found


def _of_file(path: Path) -> Format | None:
    match path.suffix.lower():
        case ".json":
            content = read_json(path)
            if labelstudio.is_labelstudio(content):
                return "labelstudio"
            if labelme.is_labelme(content):
                return "labelme"
            return "coco" if coco.is_coco(content) else None
        case ".csv":
            return "openimages" if openimages.columns_of(path) else None
        case ".xml":
            return "voc"
        case ".yaml" | ".yml":
            return "yolo"
    return None


def _of_folder(folder: Path) -> Format | None:
    """Told from the first file of each kind; a folder of text and images alone is YOLO's."""
    if any(folder.glob("*.y*ml")) or any(folder.rglob("classes.txt")):
        return "yolo"
    for pattern in ("*.xml", "*.json", "*.csv"):
        for path in sorted(folder.rglob(pattern)):
            if (found := _of_file(path)) is not None:
                return found
    return "yolo" if any(folder.rglob("*.txt")) else None
