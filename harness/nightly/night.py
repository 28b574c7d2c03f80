"""``harness nightly``: a matrix of models and engines, measured, compared, remembered."""

from __future__ import annotations

import os
import shlex
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from harness import __version__, api
from harness.core.checks import Check, Status
from harness.core.errors import (
    AnotherRunError,
    HarnessError,
    IntegrityError,
    Interrupted,
    RunFailedError,
    UsageError,
)
from harness.core.nightly import Baselines, Cell, CellResult, CellStatus, Matrix, Night
from harness.core.progress import Progress
from harness.core.record import RunRecord
from harness.core.requests.cluster import NightRequest
from harness.core.requests.inference import BenchRequest, EvalRequest, InferenceRequest
from harness.core.requests.signatures import keywords_of
from harness.core.run_files import NIGHT, PAGE, RECORD, SHARDS
from harness.core.settings import recorded
from harness.files.atomic import remove_leftovers, write_text
from harness.files.environment import read_environment
from harness.files.failures import is_refusal, unwritable
from harness.files.history import NightRow, add_night, check_history
from harness.files.json import differences, dumps, read, to_plain, to_typed
from harness.files.locks import held
from harness.files.toml import CONFIG, config_text
from harness.measure.verdict import check_references
from harness.nightly.baselines import propose, proposed, read_baselines, references_of
from harness.nightly.matrix import cells_of, command_of, inference_of, read_matrix
from harness.report.night import night_junit, night_markdown
from harness.report.page import night_page
from harness.workflows.runs.folder import read_record
from harness.workflows.runs.same_data import require_same_data

HISTORY = "history.sqlite"
NIGHTS = "nights"
REFERENCE = "reference.json"

#: In the folder of a night: what it measures.
MATRIX = "matrix.json"

#: A copy of the file that says so, which its ``config.toml`` names.
GIVEN = "matrix.toml"

#: In the folder of a cell: its evaluation.
EVAL = "eval"

#: How a night continues.
AGAIN = "continue it with the same command and --resume"


def read_night(folder: Path) -> Night:
    """Read the night whose reports are in ``folder``.

    Raises:
        UsageError: There is none.
        IntegrityError: It is damaged.
    """
    return to_typed(Night, read(folder / NIGHT), where=str(folder / NIGHT))


def run_night(
    request: NightRequest, *, progress: Progress, now: datetime, night_id: str | None = None
) -> tuple[Night, Path, str]:
    """Measure a night. A cell that fails is recorded and the next one begins.

    One night at a time runs in ``request.results``. A history that cannot be used is reported
    before anything is measured; the night is measured, its reports are written without the earlier
    nights, and then the function raises.

    Args:
        request: What is asked for.
        progress: Receives notices.
        now: When the night began.
        night_id: Id of a night that was begun, and continues with the cells it lacks.

    Returns:
        The night, the folder of its reports, and the proposed change of the accepted numbers.

    Raises:
        UsageError: The matrix is wrong, there is no interrupted night to continue, or nothing may
            be written in ``request.results``.
        IntegrityError: The history or the accepted numbers are damaged.
        RunFailedError: The disk is full.
    """
    matrix, results = read_matrix(request.matrix), request.results
    if request.accept:
        _require_measured(matrix)
    try:
        (results / NIGHTS).mkdir(parents=True, exist_ok=True)
        with held(results / ".nightly.lock", notice=progress.notice):
            _remove_leftovers(results)
            chosen = night_id or _continued(request, matrix) or new_night_id(results, now)
            folder = results / NIGHTS / chosen
            write_text(folder / MATRIX, _meant(request, matrix))
            _keep_request(request, folder)
            with _continuable() if night_id is None else nullcontext():
                return _night_in(request, matrix, folder, progress, now)
    except OSError as error:
        if is_refusal(error):
            raise unwritable(Path(error.filename or results), error) from error
        raise RunFailedError(
            f"{error.filename or results}: {error.strerror or error}",
            hint=f"the records of finished cells are kept; make room, then {AGAIN}",
        ) from error


def _remove_leftovers(results: Path) -> None:
    """Remove what killed processes left here, and in nights that came to no end."""
    remove_leftovers(results)
    for night in (results / NIGHTS).iterdir():
        if not (night / PAGE).exists():
            for inner, _, _ in os.walk(night):
                remove_leftovers(Path(inner))


def _continued(request: NightRequest, matrix: Matrix) -> str | None:
    """The newest night, which has no page yet, where it is to be continued.

    Raises:
        AnotherRunError: The data of a finished cell were replaced since.
        UsageError: It is finished, measures something else, or does not say what.
    """
    if not request.resume:
        return None
    folders = sorted(one for one in (request.results / NIGHTS).iterdir() if one.is_dir())
    if not folders or (folders[-1] / PAGE).exists():
        newest = f"the newest night, {folders[-1]}, is finished" if folders else "there is no night"
        raise UsageError(
            f"nothing to continue in {request.results}: {newest}",
            hint="begin a new night without --resume",
        )
    begun = folders[-1] / MATRIX
    if not begun.is_file() or begun.read_text("utf-8", "replace") != _meant(request, matrix):
        raise UsageError(
            f"{folders[-1]} was started with another matrix or --root, and cannot be continued",
            hint="give the same ones, or begin a new night without --resume",
        )
    _require_same_data(folders[-1], matrix)
    return folders[-1].name


def _require_same_data(folder: Path, matrix: Matrix) -> None:
    """Check that the finished cells of a night are of the data that the others will be of.

    Raises:
        AnotherRunError: Annotations or images of one were replaced since.
    """
    for cell in cells_of(matrix):
        done = folder / cell.name / EVAL
        if not (done / RECORD).exists():
            continue
        try:
            require_same_data(done)
        except AnotherRunError as error:
            hint = "put them back, or begin a new night without --resume"
            raise AnotherRunError(error.message, hint=hint) from error
        except HarnessError:
            continue  # what is damaged or gone is the failure of its cell


def _meant(request: NightRequest, matrix: Matrix) -> str:
    """What a night measures, as text."""
    return dumps({"root": str(request.root.absolute()), **to_plain(matrix)}, indent=1) + "\n"


@contextmanager
def _continuable() -> Iterator[None]:
    """Say after an interruption how the night continues; a cell names its own command.

    Raises:
        Interrupted: The block was interrupted.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted("interrupted", hint=f"finished cells are kept; {AGAIN}") from error


def _keep_request(request: NightRequest, folder: Path) -> None:
    """Write the file that repeats the night, and a copy of its matrix, which may change later."""
    if request.matrix is not None:
        text = request.matrix.read_text(encoding="utf-8")
        request = replace(request, matrix=folder / GIVEN)
        write_text(folder / GIVEN, text)
    write_text(folder / CONFIG, config_text(request, command="nightly"))


def _night_in(
    request: NightRequest, matrix: Matrix, folder: Path, progress: Progress, now: datetime
) -> tuple[Night, Path, str]:
    results = request.results
    baselines = read_baselines(results / REFERENCE)
    trouble = _history_trouble(results / HISTORY)
    if trouble is not None:
        progress.notice(f"warning: {trouble}\nthis night continues without the earlier ones")
    found = [
        _measured(cell, baselines, folder, request.root, progress) for cell in cells_of(matrix)
    ]
    night = Night(
        night_id=folder.name,
        created_utc=now.isoformat(timespec="seconds"),
        harness_version=__version__,
        environment=to_plain(read_environment()),
        cells=tuple(result for result, _ in found),
    )
    # JSON first: the database is the part that can be damaged.
    write_text(folder / NIGHT, dumps(to_plain(night), indent=1) + "\n")
    trouble = trouble or _remembered(results / HISTORY, night)
    change = ""
    failed = [one.cell.name for one in night.cells if one.status == "failed"]
    if request.accept and failed:
        progress.notice(
            f"warning: nothing is accepted: {len(failed)} of {len(night.cells)} cells failed, the "
            f"first is {failed[0]}"
        )
    elif request.accept:
        records = [record for _, parts in found for record in parts]
        change = propose(results / REFERENCE, proposed(baselines, records, night.created_utc))
    write_reports(night, folder, None if trouble else results / HISTORY)
    if trouble is not None:
        raise type(trouble)(
            f"{trouble.message}\nthe night is measured and not in the history: {folder / PAGE}",
            hint=trouble.hint,
        ) from trouble
    return night, folder, change


def _require_measured(matrix: Matrix) -> None:
    """Check that a network computes every cell whose numbers would be accepted.

    Raises:
        UsageError: One has the fake engine, whose detections are the ground truth.
    """
    faked = [cell.name for cell in cells_of(matrix) if cell.engine == "fake"]
    if faked:
        raise UsageError(
            f"--accept: {faked[0]} has the fake engine, whose numbers are those of no network",
            hint="leave out --accept, or the block of this engine",
        )


def _history_trouble(path: Path) -> HarnessError | None:
    try:
        check_history(path)
    except HarnessError as error:
        return error
    return None


def new_night_id(results: Path, now: datetime) -> str:
    """Return an id that sorts by time; a second night of the same second gets a number."""
    begun = f"{now:%Y%m%d-%H%M%S}"
    names = [begun, *(f"{begun}-{number}" for number in range(2, 1000))]
    return next(name for name in names if not (results / NIGHTS / name).exists())


def write_reports(night: Night, folder: Path, history: Path | None) -> None:
    """Write the night as Markdown, JUnit XML and one page of HTML.

    Args:
        night: The night.
        folder: Where they go.
        history: The nights before it; None when there are none that can be read.
    """
    write_text(folder / "summary.md", night_markdown(night))
    write_text(folder / "junit.xml", night_junit(night))
    write_text(folder / PAGE, night_page(night, history))  # last: it marks the night as finished


def _measured(
    cell: Cell, baselines: Baselines, folder: Path, root: Path, progress: Progress
) -> tuple[CellResult, list[RunRecord]]:
    """Measure one cell, whatever happens in it; its records as far as it came."""
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
    except OSError as failure:  # of the disk; it may be full
        error = f"{failure.filename or folder}: {failure.strerror or failure}"
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
    """Yield the records of evaluation and timing; those that exist are read, not made again."""
    inference = inference_of(cell, root)
    output = folder / cell.name / EVAL
    command = command_of("eval", cell, root)
    kept = _kept(output, inference, progress)
    if kept is not None:
        yield kept
    else:
        begun = (output / RECORD).exists() or any((output / SHARDS).glob("*"))
        request = EvalRequest(inference=inference, output=output, resume=begun)
        yield api.evaluate(
            **keywords_of("evaluate", request), progress=progress, command=command
        ).record
    if not cell.bench:
        return
    output = folder / cell.name / "bench"
    kept = _kept(output, inference, progress)
    if kept is not None:
        yield kept
        return
    (output / RECORD).unlink(missing_ok=True)  # damaged, and a timing is not continued
    timing = BenchRequest(inference=inference, output=output)
    command = command_of("bench", cell, root)
    yield api.benchmark(
        **keywords_of("benchmark", timing), progress=progress, command=command
    ).record


#: What a record says of its cell: the numbers of another cell have others.
_OF_CELL = ("model", "engine", "precision", "device", "dataset", "batch_size", "limit")


def _kept(output: Path, asked: InferenceRequest, progress: Progress) -> RunRecord | None:
    """The record of a finished part of a cell; None where there is none that is sound.

    Raises:
        AnotherRunError: It is of another cell.
    """
    if not (output / RECORD).exists():
        return None
    try:
        record = read_record(output)
    except IntegrityError as error:
        if output.name != EVAL:  # which names its damage itself
            progress.notice(f"damaged: {error.message}\n  it is measured again")
        return None
    found, expected = record.request.get("inference"), to_plain(recorded(asked))
    found = found if isinstance(found, dict) else {}
    differing = differences(
        {name: found.get(name) for name in _OF_CELL}, {name: expected[name] for name in _OF_CELL}
    )
    if differing:
        raise AnotherRunError(
            f"{output} belongs to another cell:\n  " + "\n  ".join(differing),
            hint=f"remove it: rm -r {shlex.quote(str(output))}",
        )
    return record


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


def _remembered(path: Path, night: Night) -> HarnessError | None:
    """Add the night to the history; what stood in the way, if something did."""
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
    try:
        add_night(path, row, points)
    except HarnessError as error:
        return error
    return None
