"""``harness predict``: from images to detections, drawn and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.engine import Engine, notes_of
from harness.core.errors import IntegrityError
from harness.core.printable import counted
from harness.core.progress import Progress
from harness.core.requests.pictures import PredictRequest
from harness.core.results import CategoryCount, PredictReport, Unreadable
from harness.core.run_files import PAGE, PREDICT, PREDICTIONS
from harness.files.atomic import replacing, write_text
from harness.files.digest import file_digest
from harness.files.json import dumps, to_plain
from harness.report.gallery import prediction_page
from harness.workflows.evaluation.resolve import Job, open_job_engine
from harness.workflows.evaluation.workers import with_threads_of_run
from harness.workflows.pictures.predict_images import PredictJob, find_predict_job, predict_missing
from harness.workflows.runs.checksums import Line, add_sums, write_checked
from harness.workflows.runs.files import require_own_model
from harness.workflows.runs.folder import Run, announce, keeping, open_run
from harness.workflows.runs.panoptic_files import write_panoptic
from harness.workflows.runs.shards import (
    open_shard,
    read_lines,
    shard_path,
    shard_paths,
)
from harness.zoo.model_file import remarks


def predict(
    request: PredictRequest,
    *,
    progress: Progress,
    command: tuple[str, ...],
    now: datetime,
    open_engine: Callable[[Job], Engine] = open_job_engine,
) -> PredictReport:
    """Find objects in images; write drawings, ``predictions.json`` and a page to its folder.

    A file that is not an image is reported at once and at the end; the others are processed.

    Raises:
        RunFailedError: The engine failed; the run can be resumed.
    """
    require_own_model(request)
    job = find_predict_job(request, progress.notice)
    with open_run(
        request, job.facts, job.job.checkpoint, command=command, now=now, progress=progress
    ) as run:
        job = replace(job, job=with_threads_of_run(job.job, run.folder))
        for sentence in remarks(job.job.changed, job.job.stated):
            announce(run, sentence)
        path = shard_path(run.folder, 0)
        with (
            closing(_opened(job.job, open_engine)) as engine,
            keeping(run),
            open_shard(path, job.identity(engine), notice=progress.notice) as shard,
        ):
            predict_missing(job, engine, shard, run)
        lines = sorted(read_lines(shard_paths(run.folder)), key=lambda line: int(line["image_id"]))
        report = _report(job, run, engine, lines)
        for sentence in notes_of(engine):
            announce(run, f"note: {sentence}")
        _write_predictions(run.folder / PREDICTIONS, job, lines)
        if job.job.architecture.is_panoptic:
            read, things = [one for one in lines if "error" not in one], job.job.dataset.categories
            write_panoptic(run.folder, read, job.job.dataset.images, things, job.job.stuff)
        if report.page is not None:
            write_text(run.folder / report.page, prediction_page(report, _images(job, lines)))
        write_checked(run.folder, PREDICT, dumps(to_plain(report), indent=2) + "\n")
    return report


def _opened(job: Job, open_engine: Callable[[Job], Engine]) -> Engine:
    """The engine; an error of weights of the user's own says what names their classes."""
    try:
        return open_engine(job)
    except IntegrityError as error:
        named = {
            "--annotations FILE says what classes": job.request.data.annotations is not None,
            "--panoptic FILE says what kinds of stuff": job.request.data.panoptic is not None
            or not job.architecture.is_panoptic,
        }
        missing = [words for words, given in named.items() if not given]
        if job.request.network.weights is None or not missing:
            raise
        more = f"{', '.join(missing)} weights of your own know"
        hint = more if error.hint is None else f"{error.hint}; {more}"
        raise IntegrityError(error.message, hint=hint) from error


def _report(job: PredictJob, run: Run, engine: Engine, lines: Sequence[Line]) -> PredictReport:
    checkpoint = job.job.checkpoint
    assert checkpoint is not None  # only the fake engine has none
    read = [line for line in lines if "error" not in line]
    shares = [line["masked_share"] for line in read if line["masked_share"] is not None]
    counts = Counter(row["category_id"] for line in read for row in line["predictions"])
    names = {record.image_id: record.file_name for record in job.job.dataset.images}
    return PredictReport(
        harness_version=__version__,
        command=run.command,
        output=str(run.folder),
        model=job.job.entry.name,
        checkpoint=checkpoint,
        engine=engine.info,
        style=to_plain(job.request.style),
        images_dir=str(job.job.dataset.images_dir),
        images=len(read),
        detections=sum(counts.values()),
        threshold=job.request.style.threshold,
        mean_masked_share=sum(shares) / len(shares) if shares else None,
        by_category=tuple(
            CategoryCount(category_id=one.category_id, name=one.name, detections=count)
            for one in job.job.dataset.categories
            if (count := counts[one.category_id])
        ),
        unreadable=tuple(
            Unreadable(file=names[line["image_id"]], reason=line["error"])
            for line in lines
            if "error" in line
        ),
        notes=(*notes_of(engine), *_notes(lines, names)),
        predictions=PREDICTIONS,
        page=PAGE if job.pictures else None,
    )


def _notes(lines: Sequence[Line], names: dict[int, str]) -> Iterator[str]:
    """Each kind of note of images once, with how many have it and the first."""
    having: dict[str, list[str]] = {}
    for line in lines:
        for note in line.get("notes", ()):
            having.setdefault(note, []).append(names[line["image_id"]])
    for note, files in having.items():
        yield f"{counted(len(files), 'image')}, the first is {files[0]}: {note}"


def _images(job: PredictJob, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The ``images`` of ``predictions.json``: those that could be read."""
    names = {record.image_id: record.file_name for record in job.job.dataset.images}
    return [
        {
            "id": line["image_id"],
            "file_name": names[line["image_id"]],
            "height": line["height"],
            "width": line["width"],
            "masked_share": line["masked_share"],
            "picture": line["picture"],
            "small": line["small"],
            "categories": [row["category_id"] for row in line["predictions"]],
        }
        for line in lines
        if "error" not in line
    ]


def _write_predictions(path: Path, job: PredictJob, lines: Sequence[Line]) -> None:
    """One file for all: a valid annotation file whose rows are results with a score."""
    private = ("small", "categories")
    images = [
        {key: value for key, value in image.items() if key not in private}
        for image in _images(job, lines)
    ]
    info = {
        "description": f"predictions of {job.job.entry.name}",
        "images_dir": str(job.job.dataset.images_dir),
        "threshold": job.request.style.threshold,
    }
    with replacing(path) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f'{{"info": {dumps(info)},\n"images": [')
            file.writelines(_joined(images))
            file.write('],\n"categories": [')
            file.writelines(_joined(to_plain(job.job.dataset.categories), key="category_id"))
            file.write('],\n"annotations": [')
            file.writelines(_joined(list(_rows(lines))))
            file.write("]}\n")
        add_sums(path.parent, {path.name: file_digest(temporary)})


def _joined(rows: Sequence[dict[str, Any]], key: str | None = None) -> Iterator[str]:
    """Rows as JSON, one a line.

    Args:
        key: What COCO calls ``id`` there.
    """
    for number, row in enumerate(rows):
        renamed = {"id" if name == key else name: value for name, value in row.items()}
        yield ("\n" if number == 0 else ",\n") + dumps(renamed)


def _rows(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    number = 0
    for line in lines:
        for row in line["predictions"]:
            number += 1
            yield {"id": number, "image_id": line["image_id"], **row, "iscrowd": 0}
