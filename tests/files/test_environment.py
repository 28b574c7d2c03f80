"""What a record says of the machine and of the checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.files.environment import _git_state


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
