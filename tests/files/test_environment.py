"""What a record says of the machine and of the checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.files.environment import _git_state, read_environment


def test_the_index_of_a_checkout_is_not_written(tmp_path: Path) -> None:
    """Git locks it to write it, and the lock of a killed one would stop its owner's commands."""

    def git(*words: str) -> None:
        names = ("-c", "user.name=a", "-c", "user.email=a@localhost")
        subprocess.run(["git", "-C", str(tmp_path), *names, *words], check=True, timeout=60)

    git("init", "--quiet")
    file, index = tmp_path / "file", tmp_path / ".git" / "index"
    file.write_text("same")
    git("add", "file")
    git("commit", "--quiet", "-m", "first")
    os.utime(file, (1, 1))  # the index has another time, which git would write there
    before = index.read_bytes()
    commit, changed = _git_state(tmp_path)
    assert commit is not None
    assert changed is False
    assert index.read_bytes() == before
    file.write_text("other")
    assert _git_state(tmp_path) == (commit, True)


def test_the_driver_is_asked_once_for_all_it_knows_of_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question takes it a second on a machine with GPUs."""
    program, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    program.write_text(
        f"#!/bin/sh\necho asked >> '{asked}'\n"
        '[ "$1" = --query-gpu=driver_version,name ] || exit 2\n'
        "echo '580.159.04, NVIDIA H100 80GB HBM3'\necho '580.159.04, Odd, with a comma'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = read_environment()
    assert found.driver == "580.159.04"
    assert found.gpus == ("NVIDIA H100 80GB HBM3", "Odd, with a comma")
    assert asked.read_text() == "asked\n"
