"""Counting hostile inputs, choosing them by fixed seeds, and commands under limits."""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

#: Multiplies the time each fuzzing test may take: ATTACK_BUDGET=20 make test-attack
BUDGET = float(os.environ.get("ATTACK_BUDGET", "1"))

#: What a command may take unless its test says otherwise. docs/robustness.md states these limits.
MEMORY_BYTES = 4 << 30
SECONDS = 60.0

#: Longest message that a person would still read.
LONGEST_MESSAGE = 20_000

TABLE = re.compile(r"(<!-- attack table -->\n).*(<!-- end of attack table -->)", re.DOTALL)
SHOWN = 5


class LostError(AssertionError):
    """Raised by a trial for which data or finished work was lost, or a result was wrong."""


@dataclass
class Trials:
    """How many inputs were tried in an area, and what got through.

    faults: a crash, a traceback, a hang, a broken limit. lost: data or finished work that is gone,
    or a wrong number.
    """

    area: str
    number: int = 0
    faults: int = 0
    lost: int = 0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def one(self, name: object = "") -> Iterator[None]:
        """One input. A failure in the block is counted, and the next input goes on."""
        self.number += 1
        try:
            yield
        except LostError as error:
            self.lost += 1
            self.failures.append(f"{name}: lost: {error}")
        except Exception as error:
            self.faults += 1
            self.failures.append(f"{name}: {type(error).__name__}: {error}")

    def add(self, number: int, faults: int, lost: int) -> None:
        """Add the counts of another test."""
        self.number += number
        self.faults += faults
        self.lost += lost

    def numbers(self) -> tuple[str, int, int, int]:
        """Area, trials, faults, lost."""
        return self.area, self.number, self.faults, self.lost

    def report(self) -> str:
        """The first few failures."""
        shown = "\n".join(one[:2000] for one in self.failures[:SHOWN])
        return f"{len(self.failures)} of {self.number} inputs got through:\n{shown}"


def render_table(areas: Iterable[Trials]) -> str:
    """The counts by area as Markdown, with their sum."""
    rows = sorted(one.numbers() for one in areas)
    total = ("all", *(sum(row[column] for row in rows) for column in (1, 2, 3)))
    headers = ("area", "trials", "faults", "lost")
    return tabulate([*rows, total], headers=headers, tablefmt="github", intfmt=",")


def replace_table(file: Path, table: str) -> None:
    """Put the table between its two marks in a document."""
    text = file.read_text(encoding="utf-8")
    if not TABLE.search(text):
        raise ValueError(f"{file} has no place for the table")
    file.write_text(TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text), "utf-8")


def seeds(count: int, seconds: float) -> Iterator[random.Random]:
    """Generators for fuzzing: the same ones each time, as far as the time reaches."""
    end = time.monotonic() + seconds * BUDGET
    for seed in range(int(count * max(BUDGET, 1))):
        if seed and time.monotonic() > end:
            return
        yield random.Random(seed)


def mutated(content: bytes, chance: random.Random, tokens: Sequence[bytes] = ()) -> bytes:
    """A damaged copy: flipped bits, cut, repeated and exchanged pieces, tokens of the format."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place, length = chance.randrange(len(damaged) + 1), chance.choice((1, 2, 8, 64))
        kind = chance.randrange(6)
        if kind == 0 and damaged:
            damaged[place % len(damaged)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del damaged[place : place + length]
        elif kind == 2:
            damaged[place:place] = chance.randbytes(length)
        elif kind == 3:
            damaged[place:place] = damaged[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 4 and tokens:
            damaged[place : place + chance.choice((0, 1, length))] = chance.choice(tokens)
        else:
            del damaged[place:]
    return bytes(damaged)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended. seconds: wall time."""

    code: int
    out: str
    err: str
    seconds: float

    def require(self, *codes: int, says: str = "") -> Ended:
        """Fail unless it ended with one of ``codes``, in a sentence of bounded length."""
        assert self.code in codes, f"exit code {self.code}: {self.err[-1500:]}"
        assert "Traceback" not in self.err, self.err[-1500:]
        assert len(self.err) <= LONGEST_MESSAGE, f"{len(self.err):,} characters on stderr"
        assert says in self.err + self.out, f"{says!r} is not in: {self.err[-1500:]}"
        return self


def harness(
    *words: object,
    folder: Path,
    memory_bytes: int = MEMORY_BYTES,
    seconds: float = SECONDS,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run a command of the harness in ``folder`` under limits of memory and time.

    A command that takes longer is ended and raises, which counts as a fault.
    """
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return limited(
        command,
        folder=folder,
        memory_bytes=memory_bytes,
        seconds=seconds,
        environment=environment,
    )


def limited(
    command: Sequence[str],
    *,
    folder: Path,
    memory_bytes: int = MEMORY_BYTES,
    seconds: float = SECONDS,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run any command under limits of memory (address space) and time."""
    root = str(Path(__file__).resolve().parents[2])
    begun = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **(environment or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=_limits(memory_bytes),
    )
    return Ended(
        code=done.returncode, out=done.stdout, err=done.stderr, seconds=time.monotonic() - begun
    )


def _limits(memory_bytes: int) -> Callable[[], None]:
    def apply() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return apply
