"""Processes that answer, raise and die, and what their parent makes of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest

from harness.core.errors import IntegrityError, RunFailedError, UsageError
from harness.files.locks import held
from harness.launch import server
from harness.launch.local import ATTEMPTS, Work, run_workers
from tests.conftest import REPOSITORY
from tests.launch import parts

#: What the server of processes imports in these tests.
MODULES = ("tests.launch.parts",)


@pytest.fixture(params=[(), MODULES], ids=["spawned", "by server"])
def modules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """What processes import at once; with any, they are copies of the server."""
    server._environment_of_server.cache_clear()
    # Another test may have started it, with other modules and without signals blocked.
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # it changes from test to test
    found: Sequence[str] = request.param
    return found


def works(folder: Path, *names: str) -> list[Work[Path]]:
    return [
        Work(name=f"part {name}", item=folder / name, log=folder / f"{name}.log") for name in names
    ]


def run(
    function: Callable[[Path], None], given: list[Work[Path]], modules: Sequence[str] = ()
) -> list[str]:
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # set again when the test was set up
    notices: list[str] = []
    run_workers(function, given, notice=notices.append, poll=lambda: None, modules=modules)
    return notices


def test_every_part_has_a_process_of_its_own(tmp_path: Path, modules: Sequence[str]) -> None:
    assert run(parts.write_pid, works(tmp_path, "a", "b"), modules) == []
    pids = {(tmp_path / name).read_text(encoding="utf-8") for name in "ab"}
    assert len(pids | {str(os.getpid())}) == 3
    assert multiprocessing.active_children() == []


def test_a_copy_looks_for_cycles_among_its_own_objects_only(
    tmp_path: Path, modules: Sequence[str]
) -> None:
    """What was imported before is the memory of all copies, until one writes to it."""
    assert run(parts.look_at_collector, works(tmp_path, "a"), modules) == []
    enabled, frozen = json.loads((tmp_path / "a").read_text(encoding="utf-8"))
    assert enabled
    assert (frozen > 1000) == (len(modules) > 0)


def test_what_a_process_says_goes_to_its_log(
    odd_tmp_path: Path, capfd: pytest.CaptureFixture[str], modules: Sequence[str]
) -> None:
    run(parts.say, works(odd_tmp_path, "a"), modules)
    assert (odd_tmp_path / "a.log").read_text(encoding="utf-8") == "to stdout\nto stderr\n"
    assert capfd.readouterr() == ("", "")


def test_a_process_that_dies_is_started_again(tmp_path: Path, modules: Sequence[str]) -> None:
    notices = run(parts.die_twice, works(tmp_path, "a"), modules)
    assert len(notices) == 2
    assert "part a: its process ended by SIGKILL" in notices[0]
    assert (tmp_path / "a").stat().st_size == 3


def test_a_process_that_always_dies_ends_the_run(tmp_path: Path, modules: Sequence[str]) -> None:
    with pytest.raises(RunFailedError, match=r"part a: .* 3 times .* by SIGSEGV") as caught:
        run(parts.die, works(tmp_path, "a"), modules)
    assert caught.value.hint == f"log: {tmp_path / 'a.log'}"
    assert (tmp_path / "a").stat().st_size == ATTEMPTS
    assert "Segmentation fault" in (tmp_path / "a.log").read_text(encoding="utf-8")


def test_an_error_keeps_its_kind_and_says_where(tmp_path: Path, modules: Sequence[str]) -> None:
    with pytest.raises(IntegrityError, match="part a: a is not right") as caught:
        run(parts.refuse, works(tmp_path, "a"), modules)
    assert caught.value.hint == f"fetch it again\n  log: {tmp_path / 'a.log'}"


def test_a_failure_of_the_system_says_what_to_do(tmp_path: Path, modules: Sequence[str]) -> None:
    with pytest.raises(RunFailedError, match="part a: Resource temporarily") as caught:
        run(parts.run_out_of_threads, works(tmp_path, "a"), modules)
    assert "ulimit -u" in str(caught.value.hint)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, modules: Sequence[str]) -> None:
    (tmp_path / "a.log").mkdir()
    with pytest.raises(UsageError, match=r"part a: cannot use .*a\.log: Is a directory"):
        run(parts.write_pid, works(tmp_path, "a"), modules)


def test_a_python_that_cannot_be_executed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("no program", encoding="utf-8")
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", os.fsencode(python))
    with pytest.raises(RunFailedError, match=f"cannot execute {python}") as caught:
        run(parts.write_pid, works(tmp_path, "a"))
    assert "virtual environment" in str(caught.value.hint)


def test_a_bug_has_its_traceback_in_the_log(tmp_path: Path, modules: Sequence[str]) -> None:
    with pytest.raises(RunFailedError, match="part a: LookupError: a"):
        run(parts.stumble, works(tmp_path, "a"), modules)
    assert "in stumble" in (tmp_path / "a.log").read_text(encoding="utf-8")


def test_one_error_stops_all_in_an_orderly_way(tmp_path: Path, modules: Sequence[str]) -> None:
    with pytest.raises(IntegrityError, match="part wrong"):
        run(parts.refuse_or_wait, works(tmp_path, "one", "two", "wrong"), modules)
    assert sorted(path.name for path in tmp_path.glob("stopped-*")) == [
        "stopped-one",
        "stopped-two",
    ]
    assert multiprocessing.active_children() == []


def test_signals_for_the_parent_do_not_reach_the_part(
    tmp_path: Path, modules: Sequence[str]
) -> None:
    assert run(parts.ignore_all, works(tmp_path, "a"), modules) == []
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
run_workers(parts.hold, [work], notice=print, poll=poll, modules=sys.argv[2:])
"""


def test_a_part_ends_with_its_parent(
    tmp_path: Path, repository: Path, modules: Sequence[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(tmp_path), *modules],
        env={**os.environ, "PYTHONPATH": str(repository)},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    with held(tmp_path / "lock", notice=lambda _: None):
        pass  # an orphan would hold it for ever


@pytest.mark.parametrize("modules", [MODULES], ids=["by server"], indirect=True)
def test_copies_of_the_server_have_its_modules_and_the_present_environment(
    tmp_path: Path, modules: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that was set since is seen, by a process that imports for itself."""
    run(parts.report, works(tmp_path, "before"), modules)
    monkeypatch.setenv("HARNESS_TEST_LATER", "yes")
    run(parts.report, works(tmp_path, "after"), modules)
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("before", "after"))
    assert before["parent"] != os.getpid()
    assert (before["later"], after["later"]) == (None, "yes")
    assert after["parent"] == os.getpid()


@pytest.mark.parametrize("modules", [MODULES], ids=["by server"], indirect=True)
def test_a_server_that_is_killed_takes_no_part_with_it(
    tmp_path: Path, modules: Sequence[str]
) -> None:
    (tmp_path / "a").write_text(str(os.getpid()), encoding="utf-8")
    assert run(parts.kill_parent, works(tmp_path, "a"), modules) == []
    assert int((tmp_path / "a").read_text(encoding="utf-8")) != os.getpid()
    assert run(parts.write_pid, works(tmp_path, "b"), modules) == []
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize("modules", [MODULES], ids=["by server"], indirect=True)
def test_signals_to_all_processes_leave_the_server(tmp_path: Path, modules: Sequence[str]) -> None:
    run(parts.report, works(tmp_path, "before"), modules)
    running = json.loads((tmp_path / "before").read_text())["parent"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
        os.kill(running, number)
    run(parts.report, works(tmp_path, "after"), modules)
    assert json.loads((tmp_path / "after").read_text())["parent"] == running


def test_where_no_socket_can_be_made_processes_are_spawned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of a socket may have 107 bytes."""
    far = tmp_path / ("long" * 40)
    far.mkdir()
    assert by_script("MODULES", tmp_path, TMPDIR=str(far)) == ""


def test_where_the_server_gets_no_process_one_is_spawned(tmp_path: Path) -> None:
    """Its traceback would stand above the sentence that says what to do."""
    assert by_script("['tests.launch.no_processes']", tmp_path) == ""


def by_script(modules: str, folder: Path, **environment: str) -> str:
    """Do one part in a Python of its own; what that prints on stderr."""
    script = "import sys; from tests.launch.test_local import *; from pathlib import Path\n"
    script += f"run(parts.report, works(Path(sys.argv[1]), 'a'), {modules})"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        timeout=60,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "a").exists()
    return done.stderr


SCRIPT = """
import os, sys
from pathlib import Path
os.environ.pop("PYTEST_CURRENT_TEST", None)
from harness.launch.local import Work, run_workers
from tests.launch import parts
print("runs")
items = [Work(name=one, item=Path(one), log=Path(one + ".log")) for one in ("a", "b")]
run_workers(parts.write_pid, items, notice=print, poll=lambda: None, modules=({modules}))
print("done as", __name__, "of", Path(__file__).name, __spec__)
"""


@pytest.mark.parametrize("modules", ["", "'tests.launch.parts',"], ids=["spawned", "by server"])
def test_a_script_without_a_guard_runs_once(modules: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(modules=modules), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.stdout == "runs\ndone as __main__ of script.py None\n"
    assert len({(tmp_path / name).read_text(encoding="utf-8") for name in "ab"}) == 2
