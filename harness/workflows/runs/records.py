"""A run's record: ``record.json`` and ``per_category.csv``, written and read."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.printable import spreadsheet_cell
from harness.core.record import CategoryScore, RunRecord
from harness.files.json import dumps, read, to_plain, to_typed
from harness.workflows.runs.checksums import UNKNOWN, read_sums, require_undamaged, write_checked
from harness.workflows.runs.files import EVALUATIONS, PER_CATEGORY, PREDICTIONS, RECORD
from harness.workflows.runs.folder import continuing


def write_record(folder: Path, record: RunRecord) -> None:
    """Write ``record.json`` and ``per_category.csv`` with their checksums, each whole or not at
    all.

    The record is written last: a folder that has it is a finished run.

    Args:
        folder: The run folder.
        record: Of the finished run.
    """
    if record.per_category:
        write_checked(folder, PER_CATEGORY, category_table(record.per_category))
    write_checked(folder, RECORD, dumps(to_plain(record), indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read the validated record of a finished run.

    Args:
        folder: The run folder.

    Raises:
        UsageError: The run has no record yet.
        IntegrityError: It does not fit its schema, or was damaged since it was written.
    """
    path = folder / RECORD
    if path.is_file():
        require_undamaged(path, read_sums(folder).get(RECORD), repair=_repair(folder))
    return to_typed(RunRecord, read(path), where=str(path))


def require_own_predictions(folder: Path) -> str | None:
    """Compare ``predictions.json`` of a run with its checksum.

    Args:
        folder: A run folder with predictions, finished or not.

    Returns:
        A sentence where the run has no checksum of it, because an older version wrote it.

    Raises:
        IntegrityError: The file was damaged or replaced since the run wrote it.
    """
    path, repair = folder / PREDICTIONS, _repair(folder)
    expected = read_sums(folder).get(PREDICTIONS)
    if (folder / RECORD).is_file():
        record = read_record(folder)
        expected = record.sha256.get(PREDICTIONS) if expected is None else expected
        if record.kind == "eval":
            repair = f"what is damaged is made again by: {continuing(record.command, folder)}"
    if require_undamaged(path, expected, repair=repair):
        return None
    return UNKNOWN.format(path=path)


def _repair(folder: Path) -> str:
    """Return what to do about a damaged file of an evaluation whose command is not known."""
    return (
        "give the command of the run again, with --output "
        f"{shlex.quote(str(folder))} --resume: only what is damaged is made again"
    )


def category_table(rows: tuple[CategoryScore, ...]) -> str:
    """Return a table of comma-separated values.

    Args:
        rows: One a task and category.

    Returns:
        Task, category id, name, AP (0-100, empty when undefined) and reason, with a header. A name
        that a spreadsheet would run as a formula has an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "category_id", "name", "ap", "reason"))
    for row in rows:
        ap = "" if row.ap is None else f"{row.ap:.6f}"
        writer.writerow((row.task, row.category_id, spreadsheet_cell(row.name), ap, row.reason))
    return text.getvalue()


def evaluation_of(folder: Path) -> Path:
    """Return the folder of the evaluation that stands for a run: of a training the best one's.

    Raises:
        UsageError: There is no finished evaluation.
    """
    if not (folder / RECORD).is_file():
        raise UsageError(
            f"{folder} holds no finished evaluation", hint="they are made by: harness eval"
        )
    record = read_record(folder)
    if record.kind != "train":
        return folder
    summary = record.resolved.get("summary") or {}
    iteration = summary.get("best_iteration", record.resolved.get("iterations"))
    return folder / EVALUATIONS / f"iteration-{iteration:07d}"
