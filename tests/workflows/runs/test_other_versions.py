"""Runs that another version wrote: an older one's are read by every command, and of a newer one's
each says what to do.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli.main import run as harness_of
from harness.core.errors import IntegrityError
from harness.core.nightly import Baselines, Night
from harness.core.record import RunRecord
from harness.core.run_files import RECORD, RUN
from harness.files.json import schema_of
from harness.files.toml import CONFIG
from harness.nightly.baselines import read_baselines
from harness.nightly.night import read_night
from harness.workflows.runs.checksums import SUMS
from harness.workflows.runs.files import RunFile
from tests.workflows.conftest import Evaluate

#: What reads the record of a finished run.
READERS: dict[str, Callable[[Path, Path], object]] = {
    "report": lambda run, _: harness.write_report(run),
    "score": lambda run, _: harness.score(run, resamples=0),
    "compare": lambda run, _: harness.compare(run, run),
    "compare several": lambda run, _: harness.compare_several(run, run, run),
    "analyze": lambda run, _: harness.analyze(run),
    "diagnose": lambda run, _: harness.diagnose(run),
    "show": lambda run, output: harness.show(run, output=output),
}


#: Keys with a default that the first version wrote, too.
ALWAYS = ("schema_version", "baselines")


def least(plain: Any, part: dict[str, Any], parts: dict[str, Any]) -> Any:
    """What a schema needs of a value: as the first version wrote it, for none ever needed more."""
    part = parts[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    if isinstance(plain, list) and "items" in part:
        return [least(one, part["items"], parts) for one in plain]
    if isinstance(plain, dict) and "anyOf" in part:  # or null
        return least(plain, next(one for one in part["anyOf"] if one != {"type": "null"}), parts)
    if isinstance(plain, dict) and isinstance(part.get("additionalProperties"), dict):
        return {key: least(one, part["additionalProperties"], parts) for key, one in plain.items()}
    if not isinstance(plain, dict) or "properties" not in part:
        return plain
    needed = (*part.get("required", ()), *ALWAYS)
    return {
        key: least(one, part["properties"][key], parts)
        for key, one in plain.items()
        if key in needed
    }


def as_first_written(path: Path, kind: type[Any]) -> int:
    """Leave of a file what its first version had; return how many characters went."""
    before = path.read_text(encoding="utf-8")
    schema = schema_of(kind)
    content = json.dumps(least(json.loads(before), schema, schema.get("$defs", {})), indent=2)
    # What is called informational today.
    path.write_text(content.replace('"informational"', '"shown"'), encoding="utf-8")
    return len(before) - len(content)


def change(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


@pytest.fixture
def run(evaluated: Evaluate, tmp_path: Path) -> Path:
    """A finished run without checksums, as those of older versions are."""
    folder = evaluated(tmp_path / "run", report=False)[1]
    for name in (SUMS, CONFIG):
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize("command", READERS)
def test_a_run_of_the_first_version_is_read(command: str, run: Path, tmp_path: Path) -> None:
    assert as_first_written(run / RECORD, RunRecord) > 500
    as_first_written(run / RUN, RunFile)
    record = json.loads((run / RECORD).read_text(encoding="utf-8"))
    assert {"intervals", "sha256", "notes"}.isdisjoint(record)
    assert "memory_format" not in record["engine"]
    READERS[command](run, tmp_path / "output")


@pytest.mark.parametrize("newer", [{"schema_version": 2}, {"added": 1}, {"kind": "dream"}], ids=str)
@pytest.mark.parametrize("command", READERS)
def test_a_run_of_a_newer_version_is_refused_with_what_to_do(
    command: str, newer: dict[str, Any], run: Path, tmp_path: Path
) -> None:
    change(run / RECORD, harness_version="9.9", **newer)
    with pytest.raises(IntegrityError, match=r"record\.json does not fit its schema") as caught:
        READERS[command](run, tmp_path / "output")
    assert caught.value.hint == (
        "it may be of a newer version of harness (it says '9.9'): use that one, or make the file "
        "again with this one"
    )


def test_a_record_of_this_version_that_was_edited_is_not_called_newer(run: Path) -> None:
    change(run / RECORD, kind="dream")
    with pytest.raises(IntegrityError, match=r"record\.json does not fit its schema") as caught:
        READERS["report"](run, run)
    assert "newer" not in str(caught.value.hint)


@pytest.fixture
def results(tmp_path: Path, embedded_root: Path) -> Path:
    """Accepted numbers, a night and the history, as the first version wrote them."""
    folder = tmp_path / "results"
    assert nightly(folder, embedded_root, "--accept") == 0
    (night,) = (folder / "nights").iterdir()
    as_first_written(night / "night.json", Night)
    as_first_written(folder / "reference.json", Baselines)
    with closing(sqlite3.connect(folder / "history.sqlite")) as database, database:
        database.execute("DROP TABLE checksums")
    return folder


def nightly(results: Path, root: Path, *more: str) -> int:
    """Measure a night of the embedded model, on few images."""
    matrix = results.parent / "matrix.toml"
    matrix.write_text('[[block]]\nmodels = ["tiny"]\nlimit = 3\nbench = false\n', encoding="utf-8")
    places = ("--matrix", str(matrix), "--results", str(results), "--root", str(root))
    return harness_of(["nightly", *places, *more])


def test_nights_of_the_first_version_are_read(
    results: Path, embedded_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (night,) = (results / "nights").iterdir()
    assert read_night(night).status == "pass"
    accepted = len(read_baselines(results / "reference.json").baselines)
    assert accepted > 0
    assert nightly(results, embedded_root) == 0
    capsys.readouterr()
    assert harness_of(["history", "--results", str(results), "--json"]) == 0
    trends = json.loads(capsys.readouterr().out)
    assert [len(one["values"]) for one in trends] == [2] * accepted


def test_accepted_numbers_of_a_newer_version_end_no_night_without_what_to_do(
    results: Path, embedded_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(results / "reference.json", schema_version=2)
    capsys.readouterr()
    assert nightly(results, embedded_root) == 4
    told = capsys.readouterr().err
    assert "reference.json does not fit its schema" in told
    assert "it may be of a newer version of harness: use that one" in told
    assert "Traceback" not in told
