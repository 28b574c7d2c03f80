"""One process at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.errors import PrerequisiteError
from harness.files.locks import held

HOLDER = """
import sys, signal
from pathlib import Path
from harness.files.locks import held
with held(Path(sys.argv[1]), notice=print):
    print("mine", flush=True)
    signal.pause()
"""

TAKER = """
import sys
from pathlib import Path
from harness.files.locks import held
with held(Path(sys.argv[1]), notice=lambda text: print(text, flush=True)):
    print("mine", flush=True)
"""


def started(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )


def test_the_second_waits_until_the_first_is_killed(odd_tmp_path: Path) -> None:
    path = odd_tmp_path / ".lock"
    with started(HOLDER, path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        with started(TAKER, path) as second:
            assert second.stdout is not None
            waiting = second.stdout.readline()
            assert waiting.startswith(f"waiting for process {first.pid} on {os.uname().nodename}, ")
            os.kill(first.pid, signal.SIGKILL)
            assert second.stdout.readline() == "mine\n"
            assert second.wait(10) == 0


def test_free_again_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), held(tmp_path / ".lock", notice=told.append):
            raise ZeroDivisionError
    assert told == []
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    wanted = pytest.raises(PrerequisiteError, match="has no locks")
    with wanted as caught, held(tmp_path / ".lock", notice=print):
        pass
    assert "--root" in str(caught.value)
