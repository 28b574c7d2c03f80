"""``harness data openimages``: classes of Open Images with masks, fetched, proven, converted.

Fetched are two tables, the archives that hold the masks of the chosen images, and these images.
What is there stays: the same command continues after any break, and a second run fetches nothing.
"""

from __future__ import annotations

import random
import zipfile
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from harness.core.errors import (
    IntegrityError,
    Interrupted,
    NotServedError,
    RunFailedError,
    UsageError,
)
from harness.core.progress import Progress, Silent
from harness.core.requests.data import ConvertRequest, OpenImagesRequest
from harness.core.settings import check_settings
from harness.data.convert.alignment import aligned
from harness.data.convert.formats.openimages import (
    labels_of,
    read_descriptions,
    rows_by_image,
    table_annotations,
)
from harness.data.convert.image_matching import ImageFolder
from harness.data.convert.source_annotations import Tally
from harness.data.convert.to_coco import ConvertOptions, to_coco
from harness.files.atomic import temporary_path, write_text
from harness.files.failures import ARRIVED, disk_errors
from harness.files.fetch import Expected, FetchOptions, fetch
from harness.files.json import dumps
from harness.files.locks import held
from harness.files.unpack import reading
from harness.workflows.datasets.convert import ConvertReport, nothing_left, report_of
from harness.zoo import openimages
from harness.zoo.download import check_mirror, mirrored
from harness.zoo.proof import mismatches

LOCK = ".openimages.lock"


def fetch_openimages(
    request: OpenImagesRequest, options: FetchOptions, known: openimages.KnownFiles
) -> ConvertReport:
    """Write ``instances.json``, ``images``, ``masks`` and ``tables`` into the output folder.

    Args:
        request: What is asked for.
        options: How files are fetched.
        known: Sizes and hashes that tables and archives must have.

    Raises:
        UsageError: Open Images does not have a class, or no masks of it.
        IntegrityError: Files are not the pinned ones.
        RunFailedError: Servers do not answer.
    """
    check_mirror(request.mirror)
    if not request.classes:
        raise UsageError("no class is given", hint="for instance --classes Panda,Dice,Duck")
    check_settings(request)
    work = Fetching(request=request, options=options, known=known)
    try:
        with disk_errors(request.output, kept=ARRIVED):
            request.output.mkdir(parents=True, exist_ok=True)
            with held(request.output / LOCK, notice=options.progress.notice):
                return _fetch(work)
    except KeyboardInterrupt:
        hint = "what has arrived is kept: the same command continues"
        raise Interrupted("interrupted", hint=hint) from None


def _fetch(work: Fetching) -> ConvertReport:
    request = work.request
    names = read_descriptions(work.bring(openimages.CLASS_NAMES, "tables"))
    labels = labels_of(request.classes, names)
    table = work.bring(openimages.segmentation_table(request.split), "tables")
    every = rows_by_image(table, labels)
    _require_all(every, labels, names, request)
    rows = chosen(every, request.most_images, request.seed)
    masks = bring_masks(rows, work)
    tally = Tally()
    images = request.output / "images"
    served = bring_images(rows, images, work, tally)
    content = to_coco(
        aligned(
            table_annotations(table, {key: rows[key] for key in served}, names, masks, tally),
            ImageFolder(images),
            tally,
        ),
        ConvertOptions(categories=request.classes),
        tally,
    )
    output = request.output / "instances.json"
    source = ConvertRequest(source=request.output, output=output)
    report = report_of(source, "openimages", ImageFolder(images), content, tally)
    if not content["images"]:
        raise nothing_left(report)
    write_text(output, dumps(content) + "\n")
    return report


def _require_all(
    rows: Rows, labels: set[str], names: Mapping[str, str], request: OpenImagesRequest
) -> None:
    """Only some classes have masks, and a small split has not all of those."""
    found = {row["LabelName"] for several in rows.values() for row in several}
    missing = sorted(names[label] for label in labels - found)
    if missing:
        raise UsageError(
            f"Open Images has no mask of {', '.join(missing)} in {request.split}",
            hint="another --split may have some; only 350 of its classes have masks at all",
        )


def chosen(rows: Rows, count: int | None, seed: int) -> dict[str, Sequence[Mapping[str, str]]]:
    """The rows of ``count`` images, random by the seed alone; of all when there are fewer."""
    order = sorted(rows)
    random.Random(seed).shuffle(order)
    return {image_id: rows[image_id] for image_id in sorted(order[:count])}


#: A mask is a PNG of two colours, of at most 1,600 px a side: some kilobytes. Chosen.
LARGEST_MASK_BYTES = 16 << 20

#: The rows of the table of masks by image id.
Rows = Mapping[str, Sequence[Mapping[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """What every step of one request needs."""

    request: OpenImagesRequest
    """What is asked for."""

    options: FetchOptions
    """How files are fetched."""

    known: openimages.KnownFiles
    """Sizes and hashes that tables and archives must have."""

    def bring(self, path: str, folder: str) -> Path:
        """A file of Google's storage, below ``folder`` of the output: the one that is there if it
        is the pinned one, else fetched.
        """
        target = self.request.output / folder / Path(path).name
        expected = openimages.expected_of(path, self.known)
        if not target.is_file() or mismatches(expected, target):
            url = mirrored(openimages.TABLES_URL + path, self.request.mirror)
            fetch([url], target, expected, self.options)
        return target


def bring_masks(rows: Rows, work: Fetching) -> dict[str, Path]:
    """The mask files of the rows by name, those that are in no archive left out."""
    folder = work.request.output / "masks"
    wanted: dict[str, list[str]] = {}
    for image_id, several in rows.items():
        path = openimages.mask_archive(work.request.split, image_id)
        for row in several:
            if not (folder / row["MaskPath"]).is_file():
                wanted.setdefault(path, []).append(row["MaskPath"])
    for path, masks in sorted(wanted.items()):
        archive = work.bring(path, "archives")
        _unpack(archive, masks, folder)
        if not work.request.keep_archives:
            archive.unlink()
    if (work.request.output / "archives").is_dir() and not work.request.keep_archives:
        (work.request.output / "archives").rmdir()
    names = [row["MaskPath"] for several in rows.values() for row in several]
    return {name: folder / name for name in names if (folder / name).is_file()}


def _unpack(archive: Path, masks: Sequence[str], folder: Path) -> None:
    """Only the wanted members, whatever folder they are in, each whole or absent."""
    try:
        with reading(archive), closing(zipfile.ZipFile(archive)) as source:
            members = {Path(one.filename).name: one for one in source.infolist()}
            for mask in masks:
                if Path(mask).name == mask and mask in members:
                    _require_small(archive, members[mask])
                    _put(folder / mask, source.read(members[mask]))
    except IntegrityError as error:
        archive.unlink(missing_ok=True)  # or it would be opened again and again
        raise IntegrityError(
            error.message, hint="it was removed; the same command fetches it again"
        ) from error


def _require_small(archive: Path, member: zipfile.ZipInfo) -> None:
    """Raise IntegrityError for a mask that would fill the memory when it is unpacked."""
    if member.file_size > LARGEST_MASK_BYTES:
        raise IntegrityError(
            f"{archive}: {member.filename[:80]!r} has {member.file_size:,} bytes, allowed are "
            f"{LARGEST_MASK_BYTES:,}"
        )


def _put(path: Path, content: bytes) -> None:
    """The file whole or absent, without the fsync that thousands of small ones forbid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    temporary.write_bytes(content)
    temporary.replace(path)


def bring_images(rows: Rows, folder: Path, work: Fetching, tally: Tally) -> list[str]:
    """Fetch what is missing, several at once; the ids of the images that are there then.

    An image that the server no longer has is counted and left out; if it has none, it is the wrong
    server.
    """
    missing = [one for one in rows if not (folder / f"{one}.jpg").is_file()]
    waiting: deque[str] = deque(missing)
    arrived: SimpleQueue[tuple[str, Exception | None]] = SimpleQueue()
    absent: dict[str, NotServedError] = {}
    done = len(rows) - len(missing)
    with work.options.progress.task("images", total=len(rows), done=done, unit="img") as advance:
        arguments = (waiting, folder, work, arrived)
        count = min(work.options.jobs, len(missing))
        # Daemons: an interrupt does not wait for a server that does not respond.
        threads = [Thread(target=_fetch_waiting, args=arguments, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for _ in missing:
            image_id, failure = arrived.get()
            if isinstance(failure, NotServedError):
                absent[image_id] = failure
            elif failure is not None:
                waiting.clear()
                for thread in threads:  # none may write here once the folder's lock is free
                    thread.join()
                raise failure
            advance(1)
    if absent and len(absent) == len(rows):
        last = absent[min(absent)]
        raise RunFailedError(
            f"none of {len(rows)} images is served: {last.message}", hint=last.hint
        )
    for image_id in sorted(absent):
        tally.image("not served", f"{image_id}.jpg")
        tally.drop("on an image left out: not served", f"{image_id}.jpg", len(rows[image_id]))
    return [one for one in rows if one not in absent]


def _fetch_waiting(
    waiting: deque[str],
    folder: Path,
    work: Fetching,
    arrived: SimpleQueue[tuple[str, Exception | None]],
) -> None:
    """Fetch images until none is waiting; report of each that it exists now, or the error."""
    anything = Expected(size=None, algorithm="md5", digest="")
    options = replace(work.options, jobs=1, progress=_Notices(work.options.progress))
    while True:
        try:
            image_id = waiting.popleft()
        except IndexError:
            return
        url = mirrored(openimages.image_url(work.request.split, image_id), work.request.mirror)
        try:
            fetch([url], folder / f"{image_id}.jpg", anything, options)
            arrived.put((image_id, None))
        except Exception as error:  # raised in the thread that waits for this image
            arrived.put((image_id, error))


class _Notices(Silent):
    """Notices of many small downloads without a bar each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def notice(self, text: str) -> None:
        """The line, where the others go."""
        self._progress.notice(text)
