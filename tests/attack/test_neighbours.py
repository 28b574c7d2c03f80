"""What killed processes, full disks and damaged files of others leave to the next run."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from harness.cli.main import run
from harness.core.errors import HarnessError, IntegrityError, RunFailedError, UsageError
from harness.files import atomic
from harness.files import history as histories
from harness.files.atomic import remove_leftovers, temporary_path, write_text
from harness.files.history import check_history
from harness.files.locks import held, held_at_once
from harness.files.scratch import scratch_folder
from tests.attack.trials import Trials, mutated, seeds

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.files.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(done.stdout.strip())


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / "record.json")
    assert left.exists()
    write_text(tmp_path / "other.json", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


def test_files_of_the_living_and_of_others_stay(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as living:
        host = temporary_path(tmp_path / "x").name.split(".")[2].rpartition("-")[0]
        stay = [
            tmp_path / f".x.{host}-{living.pid}.tmp",
            temporary_path(tmp_path / "x"),
            tmp_path / f".x.elsewhere-{living.pid}.tmp",
            tmp_path / "x.tmp",
            tmp_path / ".x.tmp",
            tmp_path / f".x.{host}-abc.tmp",
        ]
        old = tmp_path / ".x.elsewhere-1.tmp"
        for path in (*stay, old):
            path.touch()
        os.utime(old, (time.time() - 90_000,) * 2)
        assert remove_leftovers(tmp_path) == [old]
        assert sorted(tmp_path.iterdir()) == sorted(stay)
        living.kill()


def test_a_process_that_has_ended_and_that_nobody_waits_for_is_dead(tmp_path: Path) -> None:
    """As in a container whose first process waits for none: its number stays in the table."""
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        host = temporary_path(tmp_path / "x").name.split(".")[2].rpartition("-")[0]
        left = tmp_path / f".x.{host}-{ended.pid}.tmp"
        left.touch()
        assert remove_leftovers(tmp_path) == [left]


SCRATCH = """
import os, signal
from harness.files.scratch import claim_sockets, scratch_folder
from multiprocessing.connection import Listener
claim_sockets()
with Listener(family="AF_UNIX"), scratch_folder("plan") as folder:
    (folder / "file").touch()
    if {killed}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_folders_of_killed_processes_are_removed() -> None:
    with tempfile.TemporaryDirectory(prefix="h") as short:  # addresses of sockets have a limit
        for killed, left in ((True, ["mp", "plan"]), (False, [])):
            done = subprocess.run(
                [sys.executable, "-c", SCRATCH.format(killed=killed)],
                env={**os.environ, "TMPDIR": short},
                check=False,
            )
            assert done.returncode == (-signal.SIGKILL if killed else 0)
            assert sorted(one.name.split("-")[1] for one in Path(short).iterdir()) == left


def test_processes_of_another_container_of_this_machine_are_not_taken_for_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the machine's network it has its name too; its process ids are others."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(atomic, "FIRST_NAMESPACE", 0)  # so this one is that of a container
        left = temporary_path(tmp_path / "x")
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = left.with_name(left.name.replace(str(os.getpid()), str(dead.pid)))
    left.touch()
    monkeypatch.setattr(atomic, "FIRST_NAMESPACE", atomic.PROCESSES.stat().st_ino)
    assert remove_leftovers(tmp_path) == []
    monkeypatch.setattr(atomic, "FIRST_NAMESPACE", 0)
    assert remove_leftovers(tmp_path) == [left]


def test_nothing_of_other_programs_among_temporary_files_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs, ours = tmp_path / ".org.browser-1.tmp", tmp_path / ".harness-plan-1.elsewhere-1.tmp"
    for path in (theirs, ours):
        path.touch()
        os.utime(path, (time.time() - 90_000,) * 2)
    with scratch_folder("plan") as folder:
        assert sorted(tmp_path.iterdir()) == sorted((theirs, folder))


def test_folders_are_removed_as_well_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    folder = tmp_path / "in"
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = temporary_path(folder).name.split(".")[2].rpartition("-")[0]
    (folder / f".a.{host}-{dead.pid}.tmp" / "images").mkdir(parents=True)
    (folder / f".b.{host}-{dead.pid}.tmp").symlink_to(outside)
    assert len(remove_leftovers(folder)) == 2
    assert list(folder.iterdir()) == []
    assert (outside / "kept").is_dir()


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(UsageError, match="cannot write"), held(tmp_path / "lock", notice=print):
        pass


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    with held_at_once(tmp_path / "lock", hint="x"):
        program = (
            "import sys; from pathlib import Path; from harness.files.locks import held_at_once\n"
            "with held_at_once(Path(sys.argv[1]), hint='wait'): pass"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "lock")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "another process is at work in" in done.stderr


#: A program on Windows, where Python lacks these.
WINDOWS = """
import platform, signal, sys
platform.system = lambda: "Windows"
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
from harness.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "words", [("models",), ("eval", "--limit", "1"), ("doctor",)], ids=" ".join
)
def test_windows_ends_in_a_sentence(words: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WINDOWS, *words], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 3, ended.stderr
    assert "Linux" in ended.stderr
    assert "Traceback" not in ended.stderr


QUICK = '[[block]]\nmodels = ["tiny"]\nengines = ["fake"]\nlimit = 2\nbench = false\n'


@pytest.fixture
def results(tmp_path: Path, embedded_root: Path) -> Path:
    (tmp_path / "datasets").symlink_to(embedded_root)
    (tmp_path / "matrix.toml").write_text(QUICK, encoding="utf-8")
    return tmp_path / "results"


def nightly(results: Path) -> int:
    matrix, root = results.parent / "matrix.toml", results.parent / "datasets"
    words = ["--matrix", str(matrix), "--results", str(results), "--root", str(root)]
    return run(["nightly", *words])


def test_a_damaged_history_is_reported_first_and_the_page_is_made(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.mkdir()
    (results / "history.sqlite").write_bytes(b"no database at all" * 100)
    assert nightly(results) == 4
    err = capsys.readouterr().err
    assert err.index("cannot be used") < err.index("cell tiny-fake")
    assert "move it away" in err
    (night,) = (results / "nights").iterdir()
    for name in ("night.json", "index.html", "summary.md", "junit.xml"):
        assert (night / name).is_file(), name
    (results / "history.sqlite").unlink()
    assert nightly(results) == 0


def test_a_night_where_nothing_may_be_written(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / ".nightly.lock").mkdir(parents=True)
    assert nightly(results) == 2
    assert "choose a place that can be written" in capsys.readouterr().err


FULL = """
import resource, signal, sys
from harness.cli.main import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("text", "kind", "advice"),
    [
        ("database or disk is full", RunFailedError, "make room"),
        ("disk I/O error", RunFailedError, "make room"),
        ("attempt to write a readonly database", UsageError, "writable --results"),
        ("unable to open database file", UsageError, "writable --results"),
        ("database is locked", RunFailedError, "another process"),
        ("database disk image is malformed", IntegrityError, "move it away"),
        ("file is not a database", IntegrityError, "move it away"),
    ],
)
def test_only_a_damaged_history_is_to_be_moved_away(
    text: str, kind: type[HarnessError], advice: str, tmp_path: Path
) -> None:
    error = histories._explained(tmp_path / "history.sqlite", sqlite3.OperationalError(text))
    assert isinstance(error, kind)
    assert advice in str(error)


@pytest.mark.usefixtures("no_byte_code")
def test_a_history_that_may_not_grow(results: Path) -> None:
    """A limit on the size of files fails as a full disk does, at some write of the night."""
    results.mkdir()
    for limit in (0, 20_000):
        words = ["nightly", "--results", str(results)]
        words += ["--matrix", str(results.parent / "matrix.toml")]
        words += ["--root", str(results.parent / "datasets")]
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(limit), *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert done.returncode == 5, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        assert "move it away" not in done.stderr


def test_fuzzed_histories(trials: Trials, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    row = histories.NightRow(
        night_id="1", created_utc="2026-01-01T00:00:00+00:00", status="pass", environment={}
    )
    points = [(f"cell {n}", "cpu", "", "pass", "bbox/AP", float(n)) for n in range(200)]
    histories.add_night(path, row, points)
    whole = path.read_bytes()
    for number, chance in enumerate(seeds(150, 5)):
        with trials.one(number):
            path.write_bytes(mutated(whole, chance))
            try:
                check_history(path)
                histories.read_nights(path)
                histories.read_points(path)
                histories.add_night(path, row, points)
            except HarnessError:
                pass
            for other in tmp_path.glob("history.sqlite-*"):
                other.unlink()


def test_the_name_of_the_host_is_part_of_a_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a.b/c-d")
    path = temporary_path(tmp_path / "x")
    assert path.parent == tmp_path
    path.touch()
    assert remove_leftovers(tmp_path) == []
