"""The history keeps every night, whoever else writes, and says when it cannot be used."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from harness.core.errors import IntegrityError, UsageError
from harness.files.history import NightRow, add_night, read_nights, read_points


def night(number: int) -> NightRow:
    return NightRow(
        night_id=f"n{number:03d}",
        created_utc=f"2026-01-01T00:{number % 60:02d}:00+00:00",
        status="pass",
        environment={"packages": {"torch": "2.12.1"}},
    )


def add(path: Path, number: int) -> None:
    add_night(path, night(number), [("cell", "H200", "abc", "pass", "bbox/AP", 38.0 + number)])


def test_nights_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    for number in (2, 0, 1):
        add(path, number)
    assert [one.night_id for one in read_nights(path)] == ["n000", "n001", "n002"]
    assert read_nights(path)[0].environment == {"packages": {"torch": "2.12.1"}}
    assert [point.value for point in read_points(path)] == [38.0, 39.0, 40.0]
    assert read_points(path, metrics=("segm/AP",)) == []


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(add, [path] * 24, range(24)))
    assert len(read_nights(path)) == 24
    assert len(read_points(path)) == 24


def test_a_night_is_added_wholly_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    add(path, 1)
    bad = [("cell", "H200", "abc", "pass", "bbox/AP", object())]
    with pytest.raises((sqlite3.Error, IntegrityError)):
        add_night(path, night(2), bad)  # type: ignore[arg-type]
    assert [one.night_id for one in read_nights(path)] == ["n001"]


def test_a_newer_or_broken_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    add(path, 1)
    with closing(sqlite3.connect(path)) as database:  # a connection as a context commits alone
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(IntegrityError, match="newer harness"):
        add(path, 2)
    path.write_bytes(b"this is no database, whatever its name says")
    with pytest.raises(IntegrityError, match="also stored as JSON"):
        add(path, 3)
    assert path.read_bytes().startswith(b"this is no database")


def test_no_history_says_how_to_begin_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no history yet"):
        read_nights(tmp_path / "history.sqlite")
