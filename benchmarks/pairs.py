"""Two ways of doing the same, measured in turn in one process, and what is kept of it."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.files.environment import read_environment


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
