"""Two ways of doing the same, measured in turn in one run, and what is kept of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.files.environment import peak_process_bytes, read_environment


def in_turn(ways: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Wall seconds of each way, ``repeats`` times, one after the other; a first round warms up."""
    for way in ways:
        way()
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, column in zip(ways, seconds, strict=True):
            begun = time.perf_counter()
            way()
            column.append(time.perf_counter() - begun)
    return seconds


class Apart:
    """Ways by name in a process of their own: memory and process-wide settings are then theirs.

    build: called there with the arguments, makes the ways. Use as a context.
    """

    def __init__(self, build: Callable[..., Mapping[str, Callable[[], object]]], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._asked, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, build, arguments), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.close()
        self._process.join()

    def way(self, name: str) -> Callable[[], object]:
        """One of them; it returns when the other process is done."""
        return lambda: self._ask(name)

    def cpu_seconds(self, name: str) -> float:
        """Do one of them; the processor time it took there, which other programs do not change."""
        return float(self._ask(name))

    def peak_bytes(self) -> int:
        """The most memory that process ever held: on the GPU if it used one, else as a whole."""
        return int(self._ask(None))

    def _ask(self, name: str | None) -> Any:
        self._asked.send(name)
        return self._asked.recv()


def _serve(asked: Connection, build: Any, arguments: Sequence[Any]) -> None:
    ways = build(*arguments)
    with suppress(EOFError):
        while True:
            name = asked.recv()
            if name is None:
                asked.send(_peak_bytes())
            else:
                begun = time.process_time()
                ways[name]()
                asked.send(time.process_time() - begun)


def _peak_bytes() -> int:
    import torch

    if torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return peak_process_bytes()


def compared(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Medians, and how many times faster the first is: the median of the pairs' ratios."""
    ratios = [theirs_s / ours_s for ours_s, theirs_s in zip(ours, theirs, strict=True)]
    return {
        "ours_median_s": statistics.median(ours),
        "theirs_median_s": statistics.median(theirs),
        "times_faster": statistics.median(ratios),
        "times_faster_least": min(ratios),
        "times_faster_most": max(ratios),
    }


def environment() -> dict[str, Any]:
    """What times depend on."""
    facts = read_environment()
    return {
        "cpu": facts.cpu,
        "cpu_count": facts.cpu_count,
        "gpus": facts.gpus,
        "driver": facts.driver,
        "platform": facts.platform,
        "python": facts.python,
        "packages": facts.packages,
        "load_average": round(os.getloadavg()[0], 2),
    }


def keep(result: dict[str, Any], output: Path | None) -> None:
    """Write ``result`` with the date and the environment, if a file was asked for; print it.

    result: has ``settings``, and in them the number of ``repeats``.
    """
    whole = {"date": time.strftime("%Y-%m-%d"), **result, "environment": environment()}
    text = json.dumps(whole, indent=2, default=list) + "\n"
    if output is not None:
        output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
