"""A burst of signals is one interruption, and a later signal is another."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from harness.__main__ import BURST_S, Interruption


def test_of_a_burst_only_the_first_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    answer = Interruption()
    with pytest.raises(KeyboardInterrupt):
        answer(signal.SIGTERM, None)
    now += 0.9 * BURST_S
    answer(signal.SIGINT, None)
    now += 0.2 * BURST_S
    with pytest.raises(KeyboardInterrupt):
        answer(signal.SIGINT, None)


#: As a terminal starts it: with nohup, SIGHUP would be ignored, and stay so.
FINISHED = """
import signal, sys
from harness.__main__ import Interruption
signal.signal(signal.SIGHUP, signal.SIG_DFL)
answer = Interruption()
answer.install()
answer.finish(4)
signal.raise_signal(signal.Signals[sys.argv[1]])
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_finished_command_keeps_its_exit_code(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", FINISHED, name], check=False)
    assert done.returncode == 4


#: A module's object is torn down after Python has taken its handlers back.
TORN_DOWN = """
import os, signal, sys
from harness.__main__ import Interruption
signal.signal(signal.SIGHUP, signal.SIG_DFL)
class Late:
    def __init__(self):
        self.kill, self.pid, self.number = os.kill, os.getpid(), signal.Signals[sys.argv[1]]
    def __del__(self):
        self.kill(self.pid, self.number)
late = Late()
answer = Interruption()
answer.install()
answer.finish(4)
sys.exit(4)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_modules_are_torn_down_changes_no_exit_code(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", TORN_DOWN, name], check=False)
    assert done.returncode == 4


#: What is registered first is called last.
LEFT = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count() > 1000))
from harness.__main__ import main
sys.argv = ["harness", "--version"]
main()
"""


def test_a_finished_command_looks_for_no_cycles() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["True"], done.stderr
    assert done.returncode == 0
