"""Signals while a command is at work: its exit code, and what it leaves running."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.attack.commands import CASES, found, require_repaired, write_template
from tests.attack.trials import MEMORY_BYTES, Ended, Trials, harness
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


#: Command, what it prints on stderr when it is at work, the seconds after which it is disturbed,
#: and the signals that end it, of which one is the last to come. Without a text the seconds count
#: from when the command handles signals: before that the system ends it, and nothing is computed.
DISTURBED = [
    ("convert", "", 0.2, (TERM,)),
    ("split", "", 0.3, (INT,)),
    ("score", "", 0.4, (HUP,)),
    ("nightly", "cell", 0.3, (TERM,)),
    ("nightly", "data:", 0.1, (INT, INT)),
    ("sweep", "run folder", 1.0, (HUP, TERM)),
    ("sweep", "times the reference", 0.1, (INT,)),
    ("export", "tracing", 0.5, (TERM,)),
    ("export", "tracing", 2.0, (INT,)),
    ("train", "tensors begin", 0.5, (TERM,)),
    ("train", "iteration 2", 0.1, (HUP,)),
]

#: Seconds that a command may take to end after a signal, on a machine that does something else.
ENDS_S = 30.0


def until_handled(process: subprocess.Popen[str]) -> None:
    """Wait until a command handles SIGTERM, or has ended."""
    status, bit = Path("/proc", str(process.pid), "status"), 1 << (TERM - 1)
    end = time.monotonic() + SECONDS
    while process.poll() is None:
        assert time.monotonic() < end, "no signal is handled"
        caught = next(one for one in status.read_text().splitlines() if one.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & bit:
            return
        time.sleep(0.01)


def printed_until(process: subprocess.Popen[str], text: str) -> str:
    """What a command prints on stderr until a line has the text, which it must."""
    assert process.stderr is not None
    printed = ""
    while text and text not in printed and (line := process.stderr.readline()):
        printed += line
    assert text in printed, f"{text!r} is not in: {printed}"
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("name", dict.fromkeys(one[0] for one in DISTURBED))
def test_a_command_that_is_ended_and_repeated(
    name: str, trials: Trials, tmp_path: Path, embedded_root: Path
) -> None:
    """What was stopped and continued ends as ever; the repetition has the undisturbed bytes."""
    case, before, work = CASES[name], tmp_path / "before", tmp_path / "work"
    before.mkdir()
    write_template(before, embedded_root)
    if case.after:
        harness(*case.after, folder=before).require(0)
    shutil.copytree(before, work, symlinks=True)
    with trials.one("stopped and continued"), begun(case.words, work) as process:
        until_handled(process)
        printed = printed_until(process, next(one[1] for one in DISTURBED if one[0] == name))
        for number in (signal.SIGSTOP, signal.SIGCONT) * 2:
            os.killpg(process.pid, number)
            time.sleep(0.3)
        out, err = process.communicate(timeout=SECONDS * 2)
        Ended(code=process.returncode, out=out, err=printed + err, seconds=0).require(0)
    whole = found(work, case.results)
    for _, text, after_s, sent in (one for one in DISTURBED if one[0] == name):
        with trials.one(f"{name}: {sent} {after_s} s after {text!r}"):
            shutil.rmtree(work)
            shutil.copytree(before, work, symlinks=True)
            ended = disturbed(case.words, work, text, after_s, sent).require(0, 130)
            if ended.code:
                again = partial(repeated, work)
                require_repaired(again, case, ended.err, work, whole)


def disturbed(
    words: Sequence[str], work: Path, text: str, after_s: float, sent: Sequence[signal.Signals]
) -> Ended:
    """How a command ends that is sent signals at its work."""
    with begun(words, work) as process:
        until_handled(process)
        printed = printed_until(process, text)
        time.sleep(after_s)
        sent_s = time.monotonic()
        for number in sent:
            with suppress(ProcessLookupError):  # it was quicker
                os.killpg(process.pid, number)
            time.sleep(0.1)
        out, err = process.communicate(timeout=ENDS_S)
        seconds = time.monotonic() - sent_s
        require_none_left(process.pid)
    return Ended(code=process.returncode, out=out, err=printed + err, seconds=seconds)


def repeated(work: Path, words: Sequence[str]) -> Ended:
    return harness(*words, folder=work, seconds=SECONDS * 2, memory_bytes=MEMORY_BYTES * 2)


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
