"""``harness data openimages``: classes of Open Images with masks, fetched, proven, converted.

Fetched are two tables, the archives that hold the masks of the chosen images, and these images.
What is there stays: the same command continues after any break, and a second run fetches nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from harness.core.errors import Interrupted, UsageError
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
from harness.files.atomic import disk_errors, write_text
from harness.files.fetch import FetchOptions
from harness.files.json import dumps
from harness.files.locks import held
from harness.workflows.datasets.convert import ConvertReport, nothing_left, report_of
from harness.workflows.datasets.openimages_files import Fetching, Rows, bring_images, bring_masks
from harness.zoo import openimages
from harness.zoo.download import check_mirror

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
        raise UsageError("no class is asked for", hint="for instance --classes Panda,Dice,Duck")
    check_settings(request)
    work = Fetching(request=request, options=options, known=known)
    try:
        with disk_errors(request.output):
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
