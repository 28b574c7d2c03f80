"""``harness nightly``: a matrix of models and engines, measured, compared, remembered."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from datetime import datetime
from itertools import product
from pathlib import Path

from harness import __version__
from harness.core.checks import Check, Status
from harness.core.errors import HarnessError, Interrupted
from harness.core.nightly import Baselines, Cell, CellResult, CellStatus, Matrix, Night
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.requests.cluster import NightRequest
from harness.core.requests.inference import (
    BenchRequest,
    DataSpec,
    EngineOptions,
    EvalRequest,
    InferenceRequest,
    ModelSpec,
)
from harness.engines.opening import require_network
from harness.files.atomic import unwritable, write_text
from harness.files.environment import read_environment
from harness.files.history import NightRow, add_night
from harness.files.json import dumps, read, to_plain, to_typed
from harness.files.locks import held
from harness.files.toml import read_toml
from harness.measure.timing import PhaseTimer
from harness.measure.verdict import check_references
from harness.report.night import night_junit, night_markdown
from harness.report.page import night_page
from harness.workflows.baselines import propose, proposed, read_baselines, references_of
from harness.workflows.benchmark.bench import bench
from harness.workflows.evaluation.evaluate import evaluate
from harness.workflows.runs.files import NIGHT, PAGE, RECORD, SHARDS
from harness.workflows.runs.folder import utc_now
from harness.workflows.runs.records import read_record
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock

HISTORY = "history.sqlite"
NIGHTS = "nights"
REFERENCE = "reference.json"


def read_night(folder: Path) -> Night:
    """The night whose reports lie in ``folder``."""
    return to_typed(Night, read(folder / NIGHT), where=str(folder / NIGHT))


def read_matrix(path: Path | None) -> Matrix:
    """The matrix of a TOML file; the embedded model on its scenes without one."""
    if path is None:
        return Matrix()
    matrix, lock = read_toml(Matrix, path), read_lock()
    for block in matrix.block:
        for name, engine in product(block.models, block.engines):
            # What cannot be meant is no cell that failed.
            require_network(engine, architecture_of(find_model(lock, name).architecture))
    return matrix


def cells_of(matrix: Matrix) -> list[Cell]:
    """Every combination, in the order of the file, each once."""
    cells = [
        Cell(
            model=model,
            engine=engine,
            precision=precision,
            device=device,
            dataset=block.dataset,
            batch_size=block.batch_size,
            limit=block.limit,
            bench=block.bench,
        )
        for block in matrix.block
        for model, engine, precision, device in product(
            block.models, block.engines, block.precisions, block.devices
        )
    ]
    return list(dict.fromkeys(cells))


def run_night(
    request: NightRequest, *, progress: Progress, now: datetime, night_id: str | None = None
) -> tuple[Night, Path, str]:
    """The night, the folder of its reports, and the proposed change of the accepted numbers.

    A cell that fails is written down and the next one begins. One night at a time in ``results``.
    night_id: of a night that was begun, and goes on with what it lacks.
    """
    matrix, results = read_matrix(request.matrix), request.results
    try:
        results.mkdir(parents=True, exist_ok=True)
        (results / NIGHTS).mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(results, error) from error
    with held(results / ".nightly.lock", notice=progress.notice):
        night_id = night_id or new_night_id(results, now)
        folder = results / NIGHTS / night_id
        baselines = read_baselines(results / REFERENCE)
        found = [
            _measured(cell, baselines, folder, request.root, progress) for cell in cells_of(matrix)
        ]
        night = Night(
            night_id=night_id,
            created_utc=now.isoformat(timespec="seconds"),
            harness_version=__version__,
            environment=to_plain(read_environment()),
            cells=tuple(result for result, _ in found),
        )
        # JSON first: the database is the part that can be damaged.
        write_text(folder / NIGHT, dumps(to_plain(night), indent=1) + "\n")
        _remember(results / HISTORY, night)
        change = ""
        if request.accept:
            records = [record for _, parts in found for record in parts]
            change = propose(results / REFERENCE, proposed(baselines, records, night.created_utc))
        write_reports(night, folder, results / HISTORY)
    return night, folder, change


def new_night_id(results: Path, now: datetime) -> str:
    """Sorts by time; a second night of the same second gets a number."""
    begun = f"{now:%Y%m%d-%H%M%S}"
    names = [begun, *(f"{begun}-{number}" for number in range(2, 1000))]
    return next(name for name in names if not (results / NIGHTS / name).exists())


def write_reports(night: Night, folder: Path, history: Path) -> None:
    """The night as Markdown, JUnit XML and one page of HTML."""
    write_text(folder / "summary.md", night_markdown(night))
    write_text(folder / "junit.xml", night_junit(night))
    write_text(folder / PAGE, night_page(night, history))  # last: it says that the night is over


def _measured(
    cell: Cell, baselines: Baselines, folder: Path, root: Path, progress: Progress
) -> tuple[CellResult, list[RunRecord]]:
    """One cell, whatever happens in it; its records as far as it came."""
    progress.notice(f"cell {cell.name}")
    begun = time.perf_counter()
    records: list[RunRecord] = []
    error = ""
    try:
        for record in _records(cell, folder, root, progress):
            records.append(record)
    except Interrupted:
        raise
    except HarnessError as failure:
        error = str(failure)
    except Exception:
        error = traceback.format_exc()
    if error:
        progress.notice(f"cell {cell.name} failed: {error}")
    checks = tuple(check for record in records for check in _checks(record, baselines))
    return (
        CellResult(
            cell=cell,
            status=_status(checks, error),
            error=error,
            device_class=next((one.engine.device_class for one in records if one.engine), ""),
            dataset_digest=next((one.dataset.digest for one in records), ""),
            metrics={
                name: value
                for record in records
                for name, value in record.metrics.items()
                if value is not None
            },
            checks=checks,
            runs=tuple(record.run_id for record in records),
            seconds=time.perf_counter() - begun,
        ),
        records,
    )


def _records(cell: Cell, folder: Path, root: Path, progress: Progress) -> Iterator[RunRecord]:
    """The evaluation's and the bench's, as far as an earlier life of the night has not got them."""
    inference = inference_of(cell, root)
    command = ("harness", "nightly")
    output = folder / cell.name / "eval"
    if (output / RECORD).exists():
        yield read_record(output)
    else:
        begun = any((output / SHARDS).glob("*"))
        yield evaluate(
            EvalRequest(inference=inference, output=output, resume=begun),
            progress=progress,
            command=command,
            now=utc_now(),
            stopwatch=PhaseTimer(time.perf_counter, lambda: None),
        )[0]
    output = folder / cell.name / "bench"
    if cell.bench and (output / RECORD).exists():
        yield read_record(output)
    elif cell.bench:
        yield bench(
            BenchRequest(inference=inference, output=output),
            progress=progress,
            command=command,
            now=utc_now(),
        )[0]


def inference_of(cell: Cell, root: Path) -> InferenceRequest:
    """What a cell runs."""
    return InferenceRequest(
        network=ModelSpec(model=cell.model, root=root),
        data=DataSpec(dataset=cell.dataset, limit=cell.limit),
        options=EngineOptions(
            engine=cell.engine,
            precision=cell.precision,
            device=cell.device,
            batch_size=cell.batch_size,
        ),
    )


def _checks(record: RunRecord, baselines: Baselines) -> tuple[Check, ...]:
    """The record's own checks that were judged, and those against accepted numbers."""
    own = tuple(one for one in record.checks if one.status is not Status.NO_REFERENCE)
    accepted = check_references(
        references_of(baselines, record),
        record.metrics,
        dataset=record.dataset.name,
        deviations=(),
        device_class=None if record.engine is None else record.engine.device_class,
    )
    return own + accepted


def _status(checks: tuple[Check, ...], error: str) -> CellStatus:
    statuses = {check.status for check in checks}
    if statuses & {Status.FAIL, Status.MISSING}:
        return "regression"
    if error:
        return "failed"
    return "pass" if Status.PASS in statuses else "no-reference"


def _remember(path: Path, night: Night) -> None:
    points = [
        (result.cell.name, result.device_class, result.dataset_digest, result.status, name, value)
        for result in night.cells
        for name, value in result.metrics.items()
    ]
    row = NightRow(
        night_id=night.night_id,
        created_utc=night.created_utc,
        status=night.status,
        environment=night.environment,
    )
    add_night(path, row, points)
