"""Commands in which one operation on a file fails: a full disk, no permission, a broken device.

A process imports what commands need and is copied for each of them, so that one takes less than a
second. In a copy every opening, write, renaming, removal, making of a folder and ``fsync`` below a
folder is counted, as long as Python code makes it, and one of them is refused. Those of libraries
(SQLite, ONNX Runtime) and of further processes work.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.attack.trials import Ended

ROOT = Path(__file__).parents[2]

#: Seconds a command may take before it counts as one that hangs.
SECONDS = 120

#: What is imported before the first copy is made.
IMPORTED = (
    *("torch", "numpy", "PIL.Image", "faster_coco_eval", "harness.api", "harness.__main__"),
    *("harness.cli.eval", "harness.cli.data", "harness.cli.train", "harness.engines.fake"),
    *("harness.workflows.evaluation.evaluate", "harness.workflows.training.train"),
)

#: Events of ``sys.audit`` that name a file by their first argument.
EVENTS = {
    "open": "open",
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.truncate": "truncate",
}


#: In the folder of a command, what is its folder of temporary files where it is there.
TEMPORARY_FOLDER = "tmp"

#: As the number of an error: SIGKILL to the process and all that it started.
KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What fails.

    at: Number of the operation, from 0; None for none. error: Its number; KILLED where the process
    is ended before it. lasting: Whether all that follow fail as well, as on a disk that stays full.
    """

    at: int | None = None
    error: int = 0
    lasting: bool = False


@dataclass(kw_only=True)
class Operations:
    """The operations of this process on files below a folder, and which of them fails."""

    below: str
    fault: Fault
    seen: list[str] = field(default_factory=list)
    process: int = field(default_factory=os.getpid)

    def meet(self, kind: str, name: object) -> None:
        """Count an operation.

        Raises:
            OSError: It is the one that fails.
        """
        if os.getpid() != self.process or not self._is_below(name):
            return
        number = len(self.seen)
        self.seen.append(f"{kind} {os.path.relpath(str(name), self.below)}")
        at = self.fault.at
        lasts = self.fault.lasting and kind != "remove"  # which a full disk does not refuse
        if at is not None and (number == at or (lasts and number > at)):
            file = None if kind in ("write", "fsync") else str(name)
            error = self.fault.error
            if error == KILLED:
                os.killpg(0, signal.SIGKILL)
            raise OSError(error, os.strerror(error), file)

    def _is_below(self, name: object) -> bool:
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if not isinstance(name, (str, os.PathLike)):
            return False
        return os.path.abspath(os.fspath(name)).startswith(self.below + os.sep)  # noqa: PTH100 (no link is followed)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hook of ``sys.addaudithook``; reading is left to those who read."""
        if event not in EVENTS or (event == "open" and not _writes(*arguments[1:])):
            return
        self.meet(EVENTS[event], arguments[0])

    def install(self) -> None:
        """Count from now on, in this process and for good."""
        sys.addaudithook(self.audit)
        _wrap_descriptors(self)
        opened = io.open

        def open_counting(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if isinstance(file, int) or not set(mode) & set("wax+"):
                return opened(file, mode, *rest, **options)
            return _open_counting(self, file, mode, *rest, **options)

        io.open = builtins.open = open_counting  # type: ignore[assignment]


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool(int(flags or 0) & (os.O_WRONLY | os.O_RDWR))


def _wrap_descriptors(operations: Operations) -> None:
    """Count what is done by the number of an open file."""

    def failing(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(descriptor: int, *rest: Any) -> Any:
            try:
                name = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
            except OSError:
                return function(descriptor, *rest)
            operations.meet(kind, name)
            return function(descriptor, *rest)

        return called

    for name in ("write", "pwrite"):
        setattr(os, name, failing("write", getattr(os, name)))
    os.fsync = failing("fsync", os.fsync)  # type: ignore[assignment]


class _CountingFile(io.FileIO):
    """A file whose writes are counted."""

    operations: Operations

    def write(self, content: Any) -> int:  # type: ignore[override]
        self.operations.meet("write", self.name)
        return super().write(content) or 0


def _open_counting(
    operations: Operations,
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """As ``open``, for a file that is written to."""
    raw = _CountingFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    raw.operations = operations
    if buffering == 0:
        return raw
    buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    if "b" in mode:
        return buffered
    text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """How a command ended, and the operations it made."""

    ended: Ended
    operations: tuple[str, ...]


Command = Callable[..., Failed]


@contextmanager
def commands(streams: Path) -> Iterator[Command]:
    """Yield a function that runs a command in a copy of a process that has imported much.

    Args:
        streams: A folder for what commands print.
    """
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.attack.failing"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    requests, answers = server.stdin, server.stdout

    def run(words: Sequence[object], folder: Path, fault: Fault = Fault()) -> Failed:
        temporary = folder / TEMPORARY_FOLDER
        asked = {
            "temporary": str(temporary) if temporary.is_dir() else "",
            "words": [str(word) for word in words],
            "folder": str(folder),
            "streams": str(streams),
            "at": fault.at,
            "error": fault.error,
            "lasting": fault.lasting,
        }
        requests.write(json.dumps(asked) + "\n")
        requests.flush()
        answer = json.loads(answers.readline())
        out, err = (
            (streams / name).read_text("utf-8", "surrogateescape") for name in ("out", "err")
        )
        ended = Ended(code=answer["code"], out=out, err=err, seconds=0.0)
        return Failed(ended=ended, operations=tuple(answer["operations"]))

    try:
        yield run
    finally:
        requests.close()
        answers.close()
        server.wait(SECONDS)


def main() -> None:
    """Copy this process for each line of stdin, and print how the copy ended."""
    for name in IMPORTED:
        import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        seen = Path(asked["streams"]) / "operations"
        seen.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os.setsid()
            _run(asked, seen)
        _, status = os.waitpid(child, 0)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        operations = json.loads(seen.read_bytes() or b"[]")  # nothing of one that was killed
        answer = {"code": os.waitstatus_to_exitcode(status), "operations": operations}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run(asked: dict[str, Any], seen: Path) -> None:
    """Run one command, and end this process."""
    streams = Path(asked["streams"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(streams / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["folder"])
    if asked["temporary"]:
        os.environ["TMPDIR"] = tempfile.tempdir = asked["temporary"]
    signal.alarm(SECONDS)
    report = os.open(seen, os.O_WRONLY | os.O_CREAT)
    fault = Fault(at=asked["at"], error=asked["error"], lasting=asked["lasting"])
    operations = Operations(below=os.path.realpath(asked["folder"]), fault=fault)
    code = 99
    written = os.write
    operations.install()

    def leave(code: int) -> None:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        written(report, json.dumps(operations.seen).encode())
        exited(code)

    exited, os._exit = os._exit, leave  # type: ignore[assignment]
    try:
        sys.argv = ["harness", *asked["words"]]
        import_module("harness.__main__").main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    leave(code)


if __name__ == "__main__":
    main()
