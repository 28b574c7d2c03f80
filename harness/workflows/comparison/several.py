"""Several runs in one table: accuracy beside size, parameters, arithmetic and time of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.engine import EngineName
from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.requests.inference import EngineOptions
from harness.data.coco import dataset_of
from harness.data.images import load_image
from harness.data.proposals import generated_proposals
from harness.engines.opening import open_engine
from harness.files.extras import install_command
from harness.report.curves import RunPoint, draw_runs
from harness.workflows.runs.folder import evaluation_of, read_record
from harness.workflows.runs.same_data import annotations_of_run
from harness.workflows.runs.weights import weights_of

#: Images of the first run that every network is timed on.
IMAGES = 3

#: Accuracies that are shown of each run.
SPOKEN = {
    "bbox/AP": "box AP",
    "bbox/AP50": "box AP50",
    "segm/AP": "mask AP",
    "segm/AP50": "mask AP50",
    "keypoints/AP": "keypoint AP",
    "keypoints/AP50": "keypoint AP50",
    "panoptic_seg/PQ": "PQ",
    "box_proposals/AR@1000": "AR@1000",
}
METRICS = tuple(SPOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of the table."""

    name: str
    """Folder of the run, as it was given."""

    model: str
    """Model entry."""

    engine: str
    """Engine of the evaluation."""

    metrics: dict[str, float | None]
    """AP, quality or recall by metric, 0 to 100."""

    weights_bytes: int | None
    """Size of the file of weights; None without one."""

    parameters: int | None
    """Learned numbers of the network; None where it could not be opened."""

    flops: float | None
    """Arithmetic of an image; None where it could not be measured."""

    s_per_image: float | None
    """Seconds of an image, measured now on this machine; None where it could not be measured."""

    note: str = ""
    """Why something is missing; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralRuns:
    """Runs of the same images side by side."""

    images: int
    """Images that were evaluated."""

    rows: tuple[RunRow, ...]
    """One a run, in the order they were given."""

    plot: str | None
    """File of the plot; None without one."""


def compare_several(
    folders: Sequence[Path], *, plot: Path | None, progress: Progress
) -> SeveralRuns:
    """Return several evaluations of the same images side by side.

    Arithmetic and time are measured now, one network after the other, on the first images of the
    data set: numbers of one machine can be compared.

    Args:
        folders: Folders of evaluations, or of trainings, of which the best evaluation counts.
        plot: PNG to write; None for none.
        progress: Receives progress and notices.

    Raises:
        UsageError: A folder has no finished evaluation, or the images differ.
    """
    records = [read_record(evaluation_of(folder)) for folder in folders]
    first = records[0].dataset
    for folder, record in zip(folders, records, strict=True):
        facts = record.dataset
        if (facts.digest, facts.evaluated_images) != (first.digest, first.evaluated_images):
            raise UsageError(
                f"{folder} was evaluated on other images than {folders[0]}: "
                f"{facts.evaluated_images} of {facts.name}, not {first.evaluated_images} of "
                f"{first.name}"
            )
    rows = []
    with progress.task("measure", total=len(records), unit="run") as tick:
        for folder, record in zip(folders, records, strict=True):
            rows.append(_row(folder, record))
            tick(1)
    written = None
    if plot is not None:
        points = [
            RunPoint(
                name=row.name,
                metrics=row.metrics,
                s_per_image=row.s_per_image,
                weights_bytes=row.weights_bytes,
                parameters=row.parameters,
                flops=row.flops,
            )
            for row in rows
        ]
        written = str(plot) if draw_runs(points, plot) else None
        if written is None:
            progress.notice(f"no plot: it needs matplotlib; run: {install_command('plots')}")
    return SeveralRuns(images=first.evaluated_images, rows=tuple(rows), plot=written)


def _row(folder: Path, record: RunRecord) -> RunRow:
    parameters = flops = seconds = None
    note = ""
    try:
        parameters, flops, seconds = _cost(folder, record)
    except HarnessError as error:
        note = error.message
    checkpoint = record.checkpoint
    return RunRow(
        name=str(folder),
        model=str(record.request["inference"]["model"]),
        engine="none" if record.engine is None else record.engine.name,
        metrics={name: record.metrics[name] for name in METRICS if name in record.metrics},
        weights_bytes=None if checkpoint is None else checkpoint.bytes,
        parameters=parameters,
        flops=flops,
        s_per_image=seconds,
        note=note,
    )


def _cost(run: Path, record: RunRecord) -> tuple[int, float, float]:
    """Return parameters, arithmetic and seconds of an image.

    Raises:
        HarnessError: The run has no network, or weights or images are no longer there.
    """
    from harness.engines.cost import cost_of

    checkpoint, engine = record.checkpoint, record.engine
    if checkpoint is None or engine is None:
        raise UsageError("no network was measured")
    weights = weights_of(checkpoint)
    facts = record.dataset
    content, folder = annotations_of_run(run, facts, "leave the run out"), Path(facts.images_dir)
    dataset = dataset_of(content, Path(facts.annotations_path), folder, digest=facts.digest)
    images = [load_image(one, folder) for one in dataset.images[:IMAGES]]
    if engine.architecture.given_proposals:  # as many as a file has: they take the same time
        images = [replace(one, proposals_xyxy_px=generated_proposals(one)) for one in images]
    name: EngineName = engine.name
    options = EngineOptions(engine=name, precision=engine.precision)
    opened = open_engine(
        name, architecture=engine.architecture, weights=weights, dataset=dataset, options=options
    )
    with closing(opened):
        return cost_of(opened, images, clock=time.perf_counter)


def table_rows(found: SeveralRuns) -> tuple[list[str], list[list[str]]]:
    """Return headings and a row of texts for each run."""
    metrics = [name for name in METRICS if any(name in row.metrics for row in found.rows)]
    columns = ["run", "model", *(SPOKEN[name] for name in metrics)]
    columns += ["MB", "million parameters", "GFLOP", "ms/image"]
    rows = [
        [
            row.name,
            row.model,
            *(_number(row.metrics.get(name), 1, 2) for name in metrics),
            _number(row.weights_bytes, 1e6, 1),
            _number(row.parameters, 1e6, 2),
            _number(row.flops, 1e9, 2),
            _number(row.s_per_image, 1e-3, 1),
        ]
        for row in found.rows
    ]
    return columns, rows


def _number(value: float | None, unit: float, digits: int) -> str:
    return "–" if value is None else f"{value / unit:.{digits}f}"
