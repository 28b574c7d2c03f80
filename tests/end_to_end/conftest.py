"""The command line in a project of its own, in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.cli.main import run

#: Runs the command line with a progress that signals its own process after so many images.
SIGNALLED = """
import os, sys
from contextlib import contextmanager
from harness.cli import console

number, images = int(sys.argv[1]), int(sys.argv[2])

class Signalling(console.TerminalProgress):
    @contextmanager
    def task(self, title, **facts):
        finished = 0
        def advance(count):
            nonlocal finished
            finished += count
            if finished == images:
                os.kill(os.getpid(), number)
        yield advance

console.TerminalProgress = Signalling
sys.argv = ["harness", *sys.argv[3:]]
from harness.__main__ import main
main()
"""


class Answer(NamedTuple):
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str


@pytest.fixture
def on_small(small_coco: Path) -> list[str]:
    """Options that name the small data set."""
    annotations = str(small_coco / "annotations.json")
    return ["--annotations", annotations, "--images", str(small_coco / "images")]


@pytest.fixture
def harness(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """The command line in this process."""

    def command(*argv: str | Path) -> Answer:
        capsys.readouterr()
        code = run([str(word) for word in argv])
        return Answer(code, *capsys.readouterr())

    return command


@pytest.fixture
def process(project: Path) -> Callable[..., Answer]:
    """The command line in a process of its own, with options of ``subprocess.run``."""

    def command(*argv: str | Path, **options: Any) -> Answer:
        return answered([sys.executable, "-m", "harness", *map(str, argv)], options)

    return command


@pytest.fixture
def signalled(project: Path) -> Callable[..., Answer]:
    """The command line in a process that gets ``number`` when ``images`` more are finished."""

    def command(number: int, images: int, *argv: str | Path) -> Answer:
        words = [sys.executable, "-c", SIGNALLED, str(int(number)), str(images), *map(str, argv)]
        return answered(words, {})

    return command


def answered(words: list[str], options: dict[str, Any]) -> Answer:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, env=dict(os.environ), **options
    )
    return Answer(done.returncode, done.stdout, done.stderr)
