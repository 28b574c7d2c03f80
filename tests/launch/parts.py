"""What the processes of test_local do; importable by name, as their parent demands."""

from __future__ import annotations

import gc
import json
import os
import signal
from pathlib import Path

from harness.core.errors import IntegrityError
from harness.files.locks import held


def write_pid(path: Path) -> None:
    path.write_text(str(os.getpid()), encoding="utf-8")


def report(path: Path) -> None:
    """What this process is: its parent, and a variable that a test sets."""
    found = {"parent": os.getppid(), "later": os.environ.get("HARNESS_TEST_LATER")}
    path.write_text(json.dumps(found), encoding="utf-8")


def look_at_collector(path: Path) -> None:
    """Whether this process looks for reference cycles, and among how few objects."""
    path.write_text(json.dumps([gc.isenabled(), gc.get_freeze_count()]), encoding="utf-8")


def kill_parent(path: Path) -> None:
    """End the server, and get through all the same; ``path`` has the process that must not end."""
    server = os.getppid()
    assert server != int(path.read_text(encoding="utf-8"))
    os.kill(server, signal.SIGKILL)
    while os.getppid() == server:
        pass
    write_pid(path)


def say(path: Path) -> None:
    os.write(1, b"to stdout\n")
    os.write(2, b"to stderr\n")
    write_pid(path)


def run_out_of_threads(path: Path) -> None:
    raise RuntimeError("can't start new thread")


def die_twice(path: Path) -> None:
    """The third attempt, told from what is on disk, gets through."""
    with path.open("a", encoding="utf-8") as file:
        file.write("x")
    if path.stat().st_size < 3:
        os.kill(os.getpid(), signal.SIGKILL)


def die(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse(path: Path) -> None:
    raise IntegrityError(f"{path.name} is not right", hint="fetch it again")


def stumble(path: Path) -> None:
    raise LookupError(path.name)


def refuse_or_wait(path: Path) -> None:
    """The part called ``wrong`` raises once all others wait; they wait until they are stopped."""
    if path.name == "wrong":
        while len(list(path.parent.glob("waits*"))) < 2:
            pass
        refuse(path)
    write_pid(path.with_name(f"waits-{path.name}"))
    try:
        signal.pause()
    finally:
        path.with_name(f"stopped-{path.name}").touch()


def hold(path: Path) -> None:
    """Nobody else gets the lock ``path`` while this process lives."""
    with held(path, notice=print):
        path.with_name("waits").touch()
        signal.pause()


def ignore_all(path: Path) -> None:
    """Live through what Ctrl-C and SLURM send to all processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    path.touch()
