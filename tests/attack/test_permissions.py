"""Files and folders that may not be read or written, of this user or of another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.cli.main import run
from harness.files.layout import LOCK_NAME, find_lock
from tests.attack.strangers import by_stranger
from tests.attack.trials import Ended, LostError, Trials

DATA = ["--annotations", "small/annotations.json", "--images", "small/images"]
EVAL = ["eval", "--engine", "fake", *DATA, "--resamples", "0"]

Stranger = Callable[..., Ended]


@pytest.fixture
def place(small_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a finished run, all modes of which are set back in the end."""
    shutil.copy(find_lock(), tmp_path / LOCK_NAME)
    monkeypatch.chdir(tmp_path)
    assert run([*EVAL, "--output", "run"]) == 0
    yield tmp_path
    for folder, folders, files in os.walk(tmp_path):
        for name in (*folders, *files):
            (Path(folder) / name).chmod(0o755)


@pytest.fixture
def stranger(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    streams = tmp_path_factory.mktemp("streams")
    return lambda *words: by_stranger(*words, folder=place, streams=streams)


#: What may not be read, the command, and its exit code.
UNREADABLE: list[tuple[str, list[str], int]] = [
    ("small/annotations.json", EVAL, 2),
    ("small/annotations.json", ["score", "run"], 2),
    ("small/annotations.json", ["data", "check", "small/annotations.json"], 2),
    ("small", ["data", "check", "small/annotations.json"], 2),
    ("small", ["score", "run"], 2),
    ("small/images", [*EVAL, "--output", "new"], 2),
    ("small/images/000000000300.png", [*EVAL, "--output", "new"], 4),
    ("small/images/000000000300.png", ["predict", "small/images", "--output", "new"], 5),
    ("small/images", ["predict", "small/images", "--output", "new"], 2),
    ("small/images", ["predict", "small", "--output", "new"], 2),
    ("run", ["score", "run"], 2),
    ("run", ["report", "run"], 2),
    ("run", [*EVAL, "--output", "run", "--resume"], 2),
    ("run/run.json", ["score", "run"], 2),
    ("run/SHA256SUMS", ["score", "run"], 2),
    ("run/predictions.json", ["score", "run"], 2),
    ("run/shards", ["show", "run", "--output", "new"], 0),
    (LOCK_NAME, ["models"], 2),
    ("small/annotations.json", ["eval", "--config", "small/annotations.json"], 2),
]


def test_what_may_not_be_read_is_named(trials: Trials, place: Path, stranger: Stranger) -> None:
    for name, words, code in UNREADABLE:
        with trials.one(f"{name}: {' '.join(words)}"):
            shutil.rmtree(place / "new", ignore_errors=True)
            mode = (place / name).stat().st_mode
            (place / name).chmod(0)
            try:
                ended = stranger(*words)
            finally:
                (place / name).chmod(mode)
            ended.require(code)
            assert "[Errno" not in ended.err, ended.err
            assert "damaged" not in ended.err, ended.err
            if code:
                assert "Permission denied" in ended.err, ended.err


#: Commands that write, into a folder of another user.
WRITING: list[list[str]] = [
    EVAL,
    [*EVAL, "--output", "new"],
    [*EVAL, "--output", "run", "--resume"],
    ["bench", "--engine", "fake", *DATA, "--output", "new"],
    ["score", "run", "--output", "new"],
    ["report", "run"],
    ["show", "run"],
    ["show", *DATA],
    ["predict", "small/images"],
    ["data", "convert", "small/annotations.json", "--output", "new.json"],
    ["data", "clean", "small/annotations.json", "--output", "new.json"],
    ["data", "split", "small/annotations.json"],
    ["weights", "seeded", "--model", "tiny", "--output", "new.safetensors"],
    ["nightly", "--results", "results"],
    ["download", "--only", "val", "--root", "root", "--mirror", "http://127.0.0.1:9"],
]


def test_folders_of_others_stay_as_they_are(
    trials: Trials, place: Path, stranger: Stranger
) -> None:
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    for words in WRITING:
        with trials.one(" ".join(words)):
            if words[:2] == EVAL[:2] and words[-1] == "--resume":
                stranger(*words).require(2)  # finished, or not to be written
                continue
            ended = stranger(*words).require(2, says="cannot write")
            assert "can be written" in ended.err, ended.err
            if {path: path.stat().st_mtime_ns for path in place.rglob("*")} != before:
                raise LostError("something was written")
    for words in (["score", "run"], ["analyze", "run"], ["data", "check", DATA[1]]):
        with trials.one(" ".join(words)):
            stranger(*words).require(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_lock_of_another_user_is_named(place: Path, stranger: Stranger) -> None:
    lock = place / "results" / ".nightly.lock"
    lock.parent.mkdir(mode=0o1777)
    lock.touch(mode=0o644)
    os.chown(lock, 54321, -1)
    ended = stranger("nightly", "--results", "results", "--root", "small").require(2)
    assert "cannot lock results: .nightly.lock there belongs to the user" in ended.err
    assert "chmod a+w results/.nightly.lock" in ended.err
