"""Odd surroundings: closed and full streams, other locales, few files, little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.printable import ascii_json
from harness.workflows.runs.checksums import damage_of, read_sums
from tests.attack.trials import LostError, Trials
from tests.conftest import write_small_coco

ROOT = Path(__file__).parents[2]

EVAL = "eval --engine fake --annotations annotations.json --images images --resamples 0"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``harness`` is the command."""
    script = f'harness() {{ "{sys.executable}" -m harness "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small data set and an undisturbed run of it."""
    folder = write_small_coco(tmp_path_factory.mktemp("surroundings") / "small")
    assert shell(f"harness {EVAL} --output whole", folder).returncode == 0
    return folder


def require_whole(place: Path, name: str) -> None:
    """Check that a run has the predictions of the undisturbed one, and its files their sums.

    Raises:
        LostError: It has not.
    """
    run = place / name
    if (run / "predictions.json").read_bytes() != (place / "whole/predictions.json").read_bytes():
        raise LostError("other predictions")
    if faults := damage_of(run, read_sums(run)):
        raise LostError(str(faults))


#: Streams, workers, exit code.
STREAMS = [
    (">&-", 1, 0),
    ("2>&-", 1, 0),
    ("<&- >&- 2>&-", 2, 0),
    ("2>/dev/full", 1, 0),
    (">/dev/full", 1, 5),
    ("2> >(true)", 1, 0),
]


def test_streams_that_cannot_be_used_end_no_run(trials: Trials, place: Path) -> None:
    for number, (streams, workers, code) in enumerate(STREAMS):
        with trials.one(streams):
            words = f"{EVAL} --output streams{number} --workers {workers}"
            done = shell(f"harness {words} {streams}", place)
            assert done.returncode == code, done.stderr
            assert "Traceback" not in done.stderr
            require_whole(place, f"streams{number}")


def test_answers_and_errors_without_streams(trials: Trials, tmp_path: Path) -> None:
    lines = {
        "harness models >&-": 0,
        "harness models <&- >&- 2>&-": 0,
        "harness models >/dev/full": 5,
        "harness models --help >/dev/full": 5,
        "harness evla >/dev/full 2>&1": 2,
        "harness evla <&- >&- 2>&-": 2,
        "harness models >/dev/null </dev/null 1</dev/null": 5,
    }
    for line, code in lines.items():
        with trials.one(line):
            done = shell(line, tmp_path)
            assert done.returncode == code, done.stderr[-500:]
            assert "Traceback" not in done.stderr


def test_locales_zones_and_terminals(trials: Trials, place: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    surroundings: list[dict[str, str]] = [
        ascii_only,
        {**ascii_only, "PYTHONIOENCODING": "latin-1"},
        {"COLUMNS": "-7", "LINES": "x", "TERM": "dumb"},
        {"TZ": "XXX+167:59:59"},
        {"HOME": "", "PATH": "/usr/bin:/bin", "TMPDIR": "/none", "USER": ""},
        {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "OMP_NUM_THREADS": "-3"},
    ]
    for number, environment in enumerate(surroundings):
        with trials.one(environment):
            done = shell(f"harness {EVAL} --json --output locale{number}", place, **environment)
            assert done.returncode == 0, done.stderr[-500:]
            json.loads(done.stdout)
            require_whole(place, f"locale{number}")


def test_few_files_and_little_memory(trials: Trials, place: Path) -> None:
    limits = ["-n 20", "-n 6", "-v 150000", "-v 400000", "-f 1"]
    for number, limit in enumerate(limits):
        with trials.one(limit):
            line = f"ulimit {limit}; harness {EVAL} --output limit{number}"
            done = shell(line, place, PYTHONDONTWRITEBYTECODE="1")
            assert done.returncode in (0, 3, 5), done.stderr[-500:]
            assert "Traceback" not in done.stderr
            if done.returncode:
                resumed = "--resume" if "--resume" in done.stderr else ""
                again = f"harness {EVAL} --output limit{number} {resumed}"
                assert shell(again, place).returncode == 0
            require_whole(place, f"limit{number}")


def test_json_in_ascii_has_the_same_content() -> None:
    value = {"name": "föld – 猫 😀", "path": "a\\b"}
    text = json.dumps(value, ensure_ascii=False)
    assert ascii_json(text).isascii()
    assert json.loads(ascii_json(text)) == value
