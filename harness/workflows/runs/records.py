"""A run's record: written as ``record.json`` and ``per_category.csv``, read."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.record import CategoryScore, RunRecord
from harness.files.atomic import write_text
from harness.files.json import dumps, read, to_plain, to_typed
from harness.workflows.runs.files import PER_CATEGORY, RECORD

if TYPE_CHECKING:
    pass


def write_record(folder: Path, record: RunRecord) -> None:
    """Both files, each whole or not there; the record last: it says that the run is finished."""
    if record.per_category:
        write_text(folder / PER_CATEGORY, category_table(record.per_category))
    write_text(folder / RECORD, dumps(to_plain(record), indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """The validated record of a finished run."""
    path = folder / RECORD
    return to_typed(RunRecord, read(path), where=str(path))


def category_table(rows: tuple[CategoryScore, ...]) -> str:
    """Comma-separated: task, category id, name, AP (0-100, empty when undefined), reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "category_id", "name", "ap", "reason"))
    for row in rows:
        ap = "" if row.ap is None else f"{row.ap:.6f}"
        writer.writerow((row.task, row.category_id, row.name, ap, row.reason))
    return text.getvalue()
