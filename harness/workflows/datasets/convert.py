"""``harness data convert``: annotations of other programs as one COCO file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.requests.data import ConvertRequest, Format
from harness.data.convert.alignment import aligned
from harness.data.convert.formats import coco, labelme, labelstudio, openimages, voc, yolo
from harness.data.convert.formats.detection import detected
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import Counted, SourceAnnotations, Tally
from harness.data.convert.to_coco import ConvertOptions, to_coco
from harness.data.own_results import files_below, results_below
from harness.data.text_files import known_encoding, read_json
from harness.files.atomic import write_text
from harness.files.json import dumps
from harness.files.readable import resolved
from harness.workflows.datasets.edit import CategoryObjects, counted_categories

T = TypeVar("T")

#: A single file of these does not show where its images are.
ANYWHERE: tuple[Format, ...] = ("labelstudio", "coco")

#: Formats with an annotation file an image, in folders that may say which.
SIDECARS: tuple[Format, ...] = ("labelme", "voc")

NOT_LOOKED_AT = "images not checked: names and sizes are as stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """What a conversion read and wrote."""

    source: Path
    """File or folder that was read."""

    source_format: Format
    """What it was in."""

    output: Path
    """The file that was written."""

    images: Path | None
    """Folder that file names are relative to; None where it is not known."""

    image_count: int
    """Images in the file."""

    object_count: int
    """Annotations in the file."""

    categories: tuple[CategoryObjects, ...]
    """Categories by id, with their objects."""

    dropped_objects: tuple[Counted, ...]
    """Objects that are not in the file, by reason."""

    dropped_images: tuple[Counted, ...]
    """Images that are not in the file, by reason."""

    notes: tuple[Counted, ...]
    """What is in the file, but not as it was."""


def convert(request: ConvertRequest, progress: Progress) -> ConvertReport:
    """Read ``request.source`` and write ``request.output``, whole or not at all.

    Raises:
        UsageError: Something was asked for that there is not, or that is not clear.
        IntegrityError: Files are not what they claim to be, or not one object could be converted.
    """
    if not request.source.exists():
        raise UsageError(f"no such file or folder: {request.source}")
    if request.encoding is not None:
        request = replace(request, encoding=known_encoding(request.encoding))
    kind = request.source_format or detected(
        request.source, encoding=request.encoding, besides=request.output
    )
    images = _images(request, kind)
    tally = Tally()
    for folder in _results(request):
        tally.note("folders with results of harness: skipped", str(folder))
    order, sources = _read(request, kind, images, tally)
    if images is None:
        tally.note(NOT_LOOKED_AT, "name their folder with --images DIR")
    options = ConvertOptions(
        categories=request.categories or None,
        order=order,
        boxes_as_masks=request.boxes_as_masks,
    )
    content = to_coco(aligned(_watched(sources, progress), images, tally), options, tally)
    report = report_of(request, kind, images, content, tally)
    if not content["annotations"]:
        raise nothing_left(report)
    write_text(request.output, dumps(content) + "\n")
    return report


def _results(request: ConvertRequest) -> Iterator[Path]:
    """The folders that are searched for annotations or images and have results of this program."""
    places = [one for one in (request.source, request.images) if one is not None and one.is_dir()]
    yield from dict.fromkeys(found for place in places for found in results_below(place))


def report_of(
    request: ConvertRequest,
    kind: Format,
    images: ImageFolder | None,
    content: dict[str, Any],
    tally: Tally,
) -> ConvertReport:
    """What ``content`` holds and what it left out."""
    return ConvertReport(
        source=request.source,
        source_format=kind,
        output=request.output,
        images=None if images is None else images.folder,
        image_count=len(content["images"]),
        object_count=len(content["annotations"]),
        categories=counted_categories(content),
        dropped_objects=_shortened(tally.objects, request.source),
        dropped_images=_shortened(tally.images, request.source),
        notes=_shortened(tally.notes, request.source),
    )


def _shortened(rows: dict[str, Counted], source: Path) -> tuple[Counted, ...]:
    """The rows, with places inside the source without the path to it."""
    prefix = f"{source}/" if source.is_dir() else f"{source.parent}/"
    return tuple(replace(one, first=one.first.removeprefix(prefix)) for one in rows.values())


def nothing_left(report: ConvertReport) -> IntegrityError:
    """The error for a source of which no object is left, with every reason."""
    reasons = [
        f"{counted(one.count, 'image')}: {one.what} ({one.first})" for one in report.dropped_images
    ]
    reasons += [
        f"{counted(one.count, 'object')} {one.what} ({one.first})" for one in report.dropped_objects
    ]
    reasons += [f"{one.count:,} × {one.what} ({one.first})" for one in report.notes]
    if report.image_count:
        reasons.append(f"{counted(report.image_count, 'image')} without an object")
    return IntegrityError(
        f"nothing of {report.source} could be converted:\n  "
        + "\n  ".join(reasons or [f"it has no annotation of {report.source_format}"]),
        hint="images are looked for in --images DIR, else beside the annotations; "
        "another format: --from",
    )


def _images(request: ConvertRequest, kind: Format) -> ImageFolder | None:
    """The folder of the images; None where neither the request nor the format says."""
    folder = request.images
    source = request.source if request.source.is_dir() else request.source.parent
    sidecar_source = source if kind in SIDECARS else None
    if folder is not None:
        if not folder.is_dir() and kind != "labelme":
            raise UsageError(f"no such folder of images: {folder}", hint="give it with --images")
        return ImageFolder(folder, extract=kind == "labelme", source=sidecar_source)
    if request.source.is_dir() or kind not in ANYWHERE:
        return ImageFolder(source, source=sidecar_source)
    # Label Studio's exports with images have them in a folder of this name.
    return ImageFolder(source / "images") if (source / "images").is_dir() else None


def _read(
    request: ConvertRequest, kind: Format, images: ImageFolder | None, tally: Tally
) -> tuple[Sequence[str], Iterable[SourceAnnotations]]:
    """The category names that a source lists in an order of its own, and its annotations."""
    for option, given, kinds in (
        ("--annotator", request.annotator, ("labelstudio",)),
        ("--part", request.part, ("yolo", "voc")),
    ):
        if given is not None and kind not in kinds:
            raise UsageError(f"{option} applies to {' and '.join(kinds)}, not to {kind}")
    source, encoding = request.source, request.encoding
    match kind:
        case "labelme":
            return (), labelme.read(source, tally, encoding=encoding)
        case "labelstudio":
            file = _only_json(request, labelstudio.is_labelstudio)
            found = labelstudio.read(file, tally, annotator=request.annotator, encoding=encoding)
            return (), found
        case "openimages":
            return (), openimages.read(source, tally, encoding=encoding)
        case "voc":
            return (), voc.read(source, tally, part=request.part, encoding=encoding)
        case "coco":
            return coco.read(_only_json(request, coco.is_coco), tally, encoding=encoding)
        case "yolo":
            assert images is not None
            names = request.categories
            return yolo.read(
                source, images, tally, names=names, part=request.part, encoding=encoding
            )


def _only_json(request: ConvertRequest, is_meant: Callable[[Any], bool]) -> Path:
    """The source, or the one JSON file of its kind in an export's folder."""
    folder = request.source
    if not folder.is_dir():
        return folder
    paths = sorted(folder.glob("*.json")) or sorted(files_below(folder, "*.json"))
    paths = [path for path in paths if resolved(path) != resolved(request.output)]
    found = paths
    if len(paths) > 1:
        found = [path for path in paths if is_meant(read_json(path, encoding=request.encoding))]
    if len(found) != 1:
        names = ", ".join(path.name for path in (found or paths)[:4]) or "none"
        raise UsageError(
            f"expected one JSON file in {folder}, found {names}",
            hint="name the file; of several, convert each and join them: harness data merge",
        )
    return found[0]


def _watched(items: Iterable[T], progress: Progress) -> Iterator[T]:
    with progress.task("converting", total=None, unit="img") as advance:
        for item in items:
            yield item
            advance(1)
