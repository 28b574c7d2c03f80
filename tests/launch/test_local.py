"""Processes that answer, raise and die, and what their parent makes of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import IntegrityError, RunFailedError
from harness.files.locks import held
from harness.launch.local import ATTEMPTS, Work, run_workers
from tests.launch import parts


def works(folder: Path, *names: str) -> list[Work[Path]]:
    return [
        Work(name=f"part {name}", item=folder / name, log=folder / f"{name}.log") for name in names
    ]


def run(function: Callable[[Path], None], given: list[Work[Path]]) -> list[str]:
    notices: list[str] = []
    run_workers(function, given, notice=notices.append, poll=lambda: None)
    return notices


def test_every_part_has_a_process_of_its_own(tmp_path: Path) -> None:
    assert run(parts.write_pid, works(tmp_path, "a", "b")) == []
    pids = {(tmp_path / name).read_text(encoding="utf-8") for name in "ab"}
    assert len(pids | {str(os.getpid())}) == 3
    assert multiprocessing.active_children() == []


def test_what_a_process_says_goes_to_its_log(
    odd_tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(parts.say, works(odd_tmp_path, "a"))
    assert (odd_tmp_path / "a.log").read_text(encoding="utf-8") == "to stdout\nto stderr\n"
    assert capfd.readouterr() == ("", "")


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    notices = run(parts.die_twice, works(tmp_path, "a"))
    assert len(notices) == 2
    assert "part a: its process ended by SIGKILL" in notices[0]
    assert (tmp_path / "a").stat().st_size == 3


def test_a_process_that_always_dies_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"part a: .* 3 times .* by SIGSEGV") as caught:
        run(parts.die, works(tmp_path, "a"))
    assert caught.value.hint == f"log: {tmp_path / 'a.log'}"
    assert (tmp_path / "a").stat().st_size == ATTEMPTS
    assert "Segmentation fault" in (tmp_path / "a.log").read_text(encoding="utf-8")


def test_an_error_keeps_its_kind_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="part a: a is not right") as caught:
        run(parts.refuse, works(tmp_path, "a"))
    assert caught.value.hint == f"fetch it again\n  log: {tmp_path / 'a.log'}"


def test_a_bug_has_its_traceback_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="part a: LookupError: a"):
        run(parts.stumble, works(tmp_path, "a"))
    assert "in stumble" in (tmp_path / "a.log").read_text(encoding="utf-8")


def test_one_error_stops_all_in_an_orderly_way(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="part wrong"):
        run(parts.refuse_or_wait, works(tmp_path, "one", "two", "wrong"))
    assert sorted(path.name for path in tmp_path.glob("stopped-*")) == [
        "stopped-one",
        "stopped-two",
    ]
    assert multiprocessing.active_children() == []


def test_signals_for_the_parent_do_not_reach_the_part(tmp_path: Path) -> None:
    assert run(parts.ignore_all, works(tmp_path, "a")) == []
    assert (tmp_path / "a").exists()


ORPHAN = """
import os, signal, sys
from pathlib import Path
from harness.launch.local import Work, run_workers
from tests.launch import parts

folder = Path(sys.argv[1])

def poll():
    if (folder / "waits").exists():
        os.kill(os.getpid(), signal.SIGKILL)

work = Work(name="part", item=folder / "lock", log=folder / "part.log")
run_workers(parts.hold, [work], notice=print, poll=poll)
"""


def test_a_part_ends_with_its_parent(tmp_path: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repository)},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    with held(tmp_path / "lock", notice=lambda _: None):
        pass  # an orphan would hold it for ever
