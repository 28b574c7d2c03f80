"""Signals while a command is at work: its exit code, and what it leaves running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.attack.trials import Trials
from tests.conftest import write_small_coco

ROOT = Path(__file__).parents[2]

SECONDS = 60.0

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@contextmanager
def begun(
    words: Sequence[object], folder: Path, ignored: Sequence[signal.Signals] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, as a shell starts it."""

    def prepare() -> None:
        for number in (INT, TERM, HUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.signal(INT, signal.default_int_handler)

    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def require_none_left(group: int) -> None:
    """Wait until no process of a group is there; what is left imports, and ends after that."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("a process was left")


#: Signals that are ignored from the start, then those that are sent to the group.
SIGNALS = [
    ((), (INT,)),
    ((), (TERM,)),
    ((), (HUP,)),
    ((), (INT, INT)),
    ((), (HUP, TERM, INT)),
    ((HUP,), (HUP, TERM)),
]

#: Microseconds between signals: the later ones meet the answer to the first at different places.
GAPS = (0, 100, 200, 300, 400, 500, 700, 1000)


def test_signals_in_a_download(trials: Trials, tmp_path: Path) -> None:
    """A server that is silent holds the command where the signals reach it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}"
        words = ["download", "--only", "val", "--root", "root", "--mirror", mirror]
        gaps = [(*one, gap) for one in SIGNALS for gap in (GAPS if len(one[1]) > 1 else (0,))]
        for ignored, sent, gap in gaps:
            name = f"{sent}, {gap} µs between"
            with trials.one(name), begun(words, tmp_path, ignored) as process:
                with silent.accept()[0]:
                    for number in sent:
                        os.killpg(process.pid, number)
                        time.sleep(gap / 1e6)
                    assert process.wait(SECONDS) == 130
                err = process.communicate()[1]
                assert "interrupted" in err
                assert "Traceback" not in err, err
                require_none_left(process.pid)


@pytest.mark.slow
def test_a_closed_terminal_keeps_the_iterations_of_a_training(tmp_path: Path) -> None:
    write_small_coco(tmp_path / "small")
    data = [f"--{part}-{name}" for part in ("train", "val") for name in ("annotations", "images")]
    places = ["small/annotations.json", "small/images"] * 2
    words = ["train", *(word for pair in zip(data, places, strict=True) for word in pair)]
    words += ["--iterations", "5000", "--batch-size", "1", "--init", "none", "--eval-every", "0"]
    words += ["--device", "cpu", "--threads", "1", "--no-pictures", "--output", "run"]
    log = tmp_path / "run" / "metrics.json"
    with begun(words, tmp_path) as process:
        while not log.exists() or not log.read_bytes():
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, HUP)
        assert process.wait(SECONDS) == 130
        assert "--resume" in process.communicate()[1]
        require_none_left(process.pid)
    assert list((tmp_path / "run" / "checkpoints").glob("iteration-*.pth"))


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_no_worker(tmp_path: Path) -> None:
    for output, sent in (("twice", (INT, INT)), ("closed", (HUP,))):
        words = ["eval", "--workers", "2", "--resamples", "0", "--output", output]
        with begun(words, tmp_path) as process:
            while not list((tmp_path / output / "shards").glob("0001.jsonl")):
                assert process.poll() is None
                time.sleep(0.02)
            for number in sent:
                os.killpg(process.pid, number)
                time.sleep(0.2)
            assert process.wait(SECONDS) == 130
            assert "--resume" in process.communicate()[1]
            require_none_left(process.pid)
