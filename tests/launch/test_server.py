"""What processes are told of the program that starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

SCRIPT = """
from multiprocessing import spawn
from threading import Thread

from harness.launch.server import program_left_out

def told():
    found.append([key for key in spawn.get_preparation_data("x") if key.startswith("init_main")])

found = []
with program_left_out():
    told()
    other = Thread(target=told)
    other.start()
    other.join()
    assert __file__.endswith("script.py")
told()
print(found)
"""


def test_only_what_this_thread_starts_does_without_the_program(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout == "[[], ['init_main_from_path'], ['init_main_from_path']]\n"
