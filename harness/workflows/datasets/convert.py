"""``harness data convert``: annotations of other programs as one COCO file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.core.errors import IntegrityError, UsageError
from harness.core.progress import Progress
from harness.core.requests.data import ConvertRequest, Format
from harness.data.convert.alignment import aligned
from harness.data.convert.formats import coco, labelme, labelstudio, openimages, voc, yolo
from harness.data.convert.formats.detection import detected
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import Counted, SourceAnnotations, Tally
from harness.data.convert.to_coco import ConvertOptions, to_coco
from harness.files.atomic import write_text
from harness.files.json import dumps
from harness.workflows.datasets.edit import CategoryObjects, counted_categories

T = TypeVar("T")

#: A single file of these says nothing about where its photographs are.
ANYWHERE: tuple[Format, ...] = ("labelstudio", "coco")

NOT_LOOKED_AT = "image(s) not looked at: names and sizes are as told"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """What a conversion read and wrote.

    images: folder that file names are relative to; None where nobody said. dropped_objects and
    dropped_images: what is not in the file, by reason. notes: what is, but not as it was.
    """

    source: Path
    source_format: Format
    output: Path
    images: Path | None
    image_count: int
    object_count: int
    categories: tuple[CategoryObjects, ...]
    dropped_objects: tuple[Counted, ...]
    dropped_images: tuple[Counted, ...]
    notes: tuple[Counted, ...]


def convert(request: ConvertRequest, progress: Progress) -> ConvertReport:
    """Read ``request.source`` and write ``request.output``, whole or not at all.

    Raises UsageError for what cannot be meant, IntegrityError for files that are not what they
    claim to be and where nothing at all could be converted.
    """
    kind = request.source_format or detected(request.source)
    if not request.source.exists():
        raise UsageError(f"no such file or folder: {request.source}")
    photographs = _photographs(request, kind)
    tally = Tally()
    order, drawings = _read(request, kind, photographs, tally)
    if photographs is None:
        tally.note(NOT_LOOKED_AT, "say where they are with --images DIR")
    wanted = ConvertOptions(
        categories=request.categories or None,
        order=order,
        boxes_as_masks=request.boxes_as_masks,
    )
    content = to_coco(aligned(_watched(drawings, progress), photographs, tally), wanted, tally)
    report = report_of(request, kind, photographs, content, tally)
    if not content["images"]:
        raise nothing_left(report)
    write_text(request.output, dumps(content) + "\n")
    return report


def report_of(
    request: ConvertRequest,
    kind: Format,
    photographs: ImageFolder | None,
    content: dict[str, Any],
    tally: Tally,
) -> ConvertReport:
    """What ``content`` holds and what it left out."""
    return ConvertReport(
        source=request.source,
        source_format=kind,
        output=request.output,
        images=None if photographs is None else photographs.folder,
        image_count=len(content["images"]),
        object_count=len(content["annotations"]),
        categories=counted_categories(content),
        dropped_objects=_shortened(tally.objects, request.source),
        dropped_images=_shortened(tally.images, request.source),
        notes=_shortened(tally.notes, request.source),
    )


def _shortened(rows: dict[str, Counted], source: Path) -> tuple[Counted, ...]:
    """The rows, with places inside the source told without the path to it."""
    prefix = f"{source}/" if source.is_dir() else f"{source.parent}/"
    return tuple(replace(one, first=one.first.removeprefix(prefix)) for one in rows.values())


def nothing_left(report: ConvertReport) -> IntegrityError:
    """The error for a source of which no image is left, with every reason."""
    reasons = [f"{one.count} image(s): {one.what} ({one.first})" for one in report.dropped_images]
    reasons += [f"{one.count} {one.what} ({one.first})" for one in report.notes]
    return IntegrityError(
        f"nothing of {report.source} could be converted:\n  "
        + "\n  ".join(reasons or [f"it has no annotation of {report.source_format}"]),
        hint="photographs are looked for in --images DIR, else beside the annotations",
    )


def _photographs(request: ConvertRequest, kind: Format) -> ImageFolder | None:
    folder = request.images
    if folder is not None:
        if not folder.is_dir() and kind != "labelme":
            raise UsageError(f"no such folder of images: {folder}", hint="give it with --images")
        return ImageFolder(folder, extract=kind == "labelme")
    if request.source.is_dir():
        return ImageFolder(request.source)
    beside = request.source.parent
    if kind not in ANYWHERE:
        return ImageFolder(beside)
    # Label Studio's exports with images have them in a folder of this name.
    return ImageFolder(beside / "images") if (beside / "images").is_dir() else None


def _read(
    request: ConvertRequest, kind: Format, photographs: ImageFolder | None, tally: Tally
) -> tuple[Sequence[str], Iterable[SourceAnnotations]]:
    """The category names that a source lists in an order of its own, and its drawings."""
    for option, given, kinds in (
        ("--annotator", request.annotator, ("labelstudio",)),
        ("--part", request.part, ("yolo", "voc")),
    ):
        if given is not None and kind not in kinds:
            raise UsageError(f"{option} means something for {' and '.join(kinds)}, not for {kind}")
    source = request.source
    match kind:
        case "labelme":
            return (), labelme.read(source, tally)
        case "labelstudio":
            file = _only_json(source) if source.is_dir() else source
            return (), labelstudio.read(file, tally, annotator=request.annotator)
        case "openimages":
            return (), openimages.read(source, tally)
        case "voc":
            return (), voc.read(source, tally, part=request.part)
        case "coco":
            return coco.read(_only_json(source) if source.is_dir() else source, tally)
        case "yolo":
            assert photographs is not None
            names = request.categories
            return yolo.read(source, photographs, tally, names=names, part=request.part)


def _only_json(folder: Path) -> Path:
    """The one JSON file of an export's folder."""
    found = sorted(folder.glob("*.json")) or sorted(folder.rglob("*.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:4]) or "none"
        raise UsageError(f"expected one JSON file in {folder}, found {names}", hint="name the file")
    return found[0]


def _watched(items: Iterable[T], progress: Progress) -> Iterator[T]:
    with progress.task("converting", total=None, unit="img") as advance:
        for item in items:
            yield item
            advance(1)
