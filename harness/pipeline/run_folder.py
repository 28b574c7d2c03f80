"""The folder of one run: its name, its files, its record."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.record import CategoryScore, RunRecord
from harness.files.atomic import unwritable, write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.files.layout import runs_folder

RECORD = "record.json"
PREDICTIONS = "predictions.json"
PER_CATEGORY = "per_category.csv"
REQUEST = "request.json"


def new_run_id(kind: str, model: str, engine: str, now: datetime) -> str:
    """Sortable by time, readable, and unlike any other: the last part is from the clock's µs."""
    tail = hashlib.sha256(now.isoformat().encode()).hexdigest()[:6]
    return f"{now:%Y%m%d-%H%M%S}-{kind}-{model}-{engine}-{tail}"


def open_run(request: Any, run_id: str, *, output: Path | None, resume: bool) -> Path:
    """The folder of a run, writable, holding ``request.json``.

    output: None makes ``results/runs/<run id>``. resume: continue ``output``, or without one the
    newest unfinished run of the same request. Raises UsageError when there is nothing to resume,
    or when a new run would land in a folder that already holds one.
    """
    plain = _comparable(request)
    folder = output or runs_folder() / run_id
    if resume:
        folder = output or _newest_unfinished(plain)
        if not (folder / REQUEST).is_file():
            raise UsageError(f"nothing to resume in {folder}", hint="leave out --resume")
        return folder
    if (folder / REQUEST).exists():
        raise UsageError(
            f"{folder} already holds a run", hint="add --resume, or choose another --output"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    write_text(folder / REQUEST, dumps(plain, indent=2))
    return folder


def write_record(folder: Path, record: RunRecord) -> None:
    """``record.json``, and ``per_category.csv`` when there are categories."""
    if record.per_category:
        write_text(folder / PER_CATEGORY, _category_table(record.per_category))
    write_text(folder / RECORD, dumps(to_plain(record), indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """The validated record of a finished run."""
    path = folder / RECORD
    return to_typed(RunRecord, read(path), where=str(path))


def utc_now() -> datetime:
    """The clock of run ids and records."""
    return datetime.now(timezone.utc)


def _comparable(request: Any) -> dict[str, Any]:
    """A request as plain data without what does not change the numbers."""
    plain: dict[str, Any] = to_plain(request)
    return {key: value for key, value in plain.items() if key not in ("output", "resume")}


def _newest_unfinished(plain: dict[str, Any]) -> Path:
    for folder in sorted(runs_folder().glob("*"), reverse=True):
        unfinished = (folder / REQUEST).is_file() and not (folder / RECORD).exists()
        if unfinished and read(folder / REQUEST) == plain:
            return folder
    raise UsageError(
        f"nothing to resume: no unfinished run of this request in {runs_folder()}",
        hint="leave out --resume, or name the folder with --output",
    )


def _category_table(rows: tuple[CategoryScore, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "category_id", "name", "ap", "reason"))
    for row in rows:
        ap = "" if row.ap is None else f"{row.ap:.6f}"
        writer.writerow((row.task, row.category_id, row.name, ap, row.reason))
    return text.getvalue()
