"""The nights so far, in one SQLite file that several processes may write.

It is opened for each use with SQLite's own journal, which also works on network file systems with
locks (a write-ahead log would not). SQLite keeps no checksums of its pages, so each night has one.
Whatever happens to the file, every night is also stored as JSON.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, IntegrityError, RunFailedError, UsageError
from harness.files.failures import is_refusal, unwritable
from harness.files.json import dumps

#: PRAGMA user_version of files this version writes.
VERSION = 1

#: Seconds a writer waits for another one.
PATIENCE_S = 60.0

TABLES = """
CREATE TABLE nights (
    night_id TEXT PRIMARY KEY, created_utc TEXT NOT NULL, status TEXT NOT NULL,
    environment TEXT NOT NULL
);
CREATE TABLE measurements (
    night_id TEXT NOT NULL REFERENCES nights, cell TEXT NOT NULL, device_class TEXT NOT NULL,
    dataset_digest TEXT NOT NULL, status TEXT NOT NULL, metric TEXT NOT NULL, value REAL
);
CREATE INDEX measurements_by_cell ON measurements (cell, metric);
"""

#: Made with the first night that is added; files of older versions are without.
CHECKSUMS = "CREATE TABLE IF NOT EXISTS checksums (night_id TEXT PRIMARY KEY, sha256 TEXT NOT NULL)"

OF_NIGHTS = "SELECT night_id, created_utc, status, environment FROM nights"
OF_POINTS = (
    "SELECT night_id, cell, device_class, dataset_digest, status, metric, value FROM measurements"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One number of one night."""

    night_id: str
    """The night."""

    created_utc: str
    """When it began, in ISO 8601."""

    cell: str
    """Name of the cell of the matrix."""

    device_class: str
    """What it ran on."""

    status: str
    """Of the cell in that night."""

    metric: str
    """Name of the number, as in a record."""

    value: float | None
    """The number, in the unit of its metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRow:
    """One night as the history keeps it."""

    night_id: str
    """Also the name of its folder."""

    created_utc: str
    """When it began, in ISO 8601."""

    status: str
    """The worst of its cells."""

    environment: dict[str, Any]
    """Facts of the machine."""


def add_night(
    path: Path, night: NightRow, points: Sequence[tuple[str, str, str, str, str, float]]
) -> None:
    """Add one night and its numbers, wholly or not at all; one with the same id is replaced.

    Args:
        path: The file; it is made when it is not there.
        night: The night.
        points: Cell, device class, data digest, status, metric, value.
    """
    with _opened(path) as database, database:
        database.execute("DELETE FROM measurements WHERE night_id = ?", (night.night_id,))
        database.execute(
            "INSERT OR REPLACE INTO nights VALUES (?, ?, ?, ?)",
            (night.night_id, night.created_utc, night.status, dumps(night.environment)),
        )
        database.executemany(
            "INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(night.night_id, *point) for point in points],
        )
        database.execute(CHECKSUMS)
        one = (night.night_id,)
        row = database.execute(f"{OF_NIGHTS} WHERE night_id = ?", one).fetchone()
        stored = database.execute(f"{OF_POINTS} WHERE night_id = ?", one).fetchall()
        database.execute(
            "INSERT OR REPLACE INTO checksums VALUES (?, ?)", (*one, _digest(row, stored))
        )


def read_nights(path: Path) -> list[NightRow]:
    """Return all nights, oldest first.

    Raises:
        IntegrityError: A night is not as it was written.
        UsageError: There is no history.
    """
    _require(path)
    with _opened(path) as database:
        _require_undamaged(database)
        rows = database.execute(f"{OF_NIGHTS} ORDER BY created_utc")
        return [
            NightRow(night_id=a, created_utc=b, status=c, environment=_environment(d))
            for a, b, c, d in rows
        ]


def _environment(text: str) -> dict[str, Any]:
    """Return facts of a machine.

    Raises:
        DatabaseError: They are not what is written; only a night without a checksum comes so far.
    """
    try:
        facts = json.loads(text)
    except (TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(f"the facts of a machine are damaged: {error}") from error
    if not isinstance(facts, dict):
        raise sqlite3.DatabaseError("the facts of a machine are damaged")
    return facts


def read_points(path: Path, *, metrics: tuple[str, ...] = ()) -> list[Point]:
    """Return all numbers, oldest first; of some metrics only, where they are named.

    Raises:
        IntegrityError: A night is not as it was written.
        UsageError: There is no history.
    """
    _require(path)
    chosen = f"WHERE metric IN ({', '.join('?' * len(metrics))})" if metrics else ""
    with _opened(path) as database:
        _require_undamaged(database)
        rows = database.execute(
            "SELECT night_id, created_utc, cell, device_class, m.status, metric, value "
            f"FROM measurements m JOIN nights USING (night_id) {chosen} ORDER BY created_utc",
            metrics,
        )
        return [
            Point(
                night_id=a,
                created_utc=b,
                cell=c,
                device_class=d,
                status=e,
                metric=f,
                value=g,
            )
            for a, b, c, d, e, f, g in rows
        ]


def _require_undamaged(database: sqlite3.Connection) -> None:
    """Compare every night with its checksum, where it has one.

    Raises:
        DatabaseError: One is not as it was written, or missing.
    """
    known = "SELECT 1 FROM sqlite_master WHERE name = 'checksums'"
    if database.execute(known).fetchone() is None:
        return
    points: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in database.execute(OF_POINTS):
        points[row[0]].append(row)
    nights = {row[0]: row for row in database.execute(OF_NIGHTS)}
    for night_id, expected in database.execute("SELECT night_id, sha256 FROM checksums"):
        if _digest(nights.get(night_id), points[night_id]) != expected:
            raise sqlite3.DatabaseError(f"night {night_id} is not as it was written")


def _digest(night: tuple[Any, ...] | None, points: Sequence[tuple[Any, ...]]) -> str:
    """Return the sha256 of a night and its numbers as SQLite returns them, in any order."""
    return hashlib.sha256(ascii((night, sorted(map(ascii, points)))).encode()).hexdigest()


def _require(path: Path) -> None:
    if not path.is_file() or not path.stat().st_size:
        raise UsageError(f"no history yet: no {path}", hint="run: harness nightly")


def check_history(path: Path) -> None:
    """Raise what stands in the way of adding a night; nothing when there is no history yet.

    Raises:
        IntegrityError: The file is damaged, or of a newer version.
        RunFailedError: The disk is full, or another process holds it for too long.
        UsageError: It cannot be written.
    """
    if not path.exists():
        return
    with _opened(path) as database:
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        for table in ("nights", "measurements"):
            database.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
        _require_undamaged(database)
        database.execute("BEGIN IMMEDIATE")  # whether it may be written
        database.rollback()


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as database:
            _prepare(database, path)
            yield database
    except OSError as error:
        if is_refusal(error):
            raise unwritable(path, error) from error
        raise
    except sqlite3.DatabaseError as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: sqlite3.DatabaseError) -> HarnessError:
    """What failed in the words of SQLite, and the hint that fits: only damage is to be moved away.

    Codes of errors have come with Python 3.11; before that there is only their text.
    """
    text = str(error)
    message = f"{path} cannot be used: {text}"
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return UsageError(f"cannot write {path}: {text}", hint="choose a writable --results")
    if "full" in text or "disk I/O" in text:
        hint = "make room on its disk; the history is as it was, and the night is kept as JSON"
        return RunFailedError(message, hint=hint)
    if "locked" in text or "busy" in text:
        hint = "another process has used it all the time; wait until it ends"
        return RunFailedError(message, hint=hint)
    hint = f"move it away; every night is also stored as JSON in {path.parent / 'nights'}"
    return IntegrityError(message, hint=hint)


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise IntegrityError(
            f"{path} was written by a newer harness (version {version}, this one knows {VERSION})",
            hint="install the newer harness again",
        )
    if version == 0:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:  # not made by another process meanwhile
            for statement in TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
        database.commit()
