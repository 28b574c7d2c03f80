"""How long the command line takes before it does anything, and until a network computes.

Medians say how long one waits; on a busy machine the least of many runs, and the processor's time,
say what the program needs. It is that of all its processes.

    python benchmarks/startup.py
    python benchmarks/startup.py --networks --against OTHER_CHECKOUT --repeats 3

``--networks`` times what imports torch, on the embedded model; ``--against`` the same with another
checkout, in turn.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep

HERE = Path(__file__).resolve().parents[1]

#: Name → words after the interpreter.
COMMANDS = {
    **{
        name: ("-m", "harness", *name.split())
        for name in ("--help", "models", "eval --help", "doctor --help")
    },
    "import harness": ("-c", "import harness"),
    "nothing": ("-c", "pass"),
}

#: Small images: what is measured is the time before them.
COMMON = ("--device", "cpu", "--output", "run", "--short-edge", "64")
EVAL = ("-m", "harness", "eval", *COMMON)
CELLS = (
    "--precisions fp32 --memory-formats channels_last,contiguous --compiled no --batch-sizes 1,2"
)
NETWORKS = {
    "import harness.engines.native": ("-c", "import harness.engines.native"),
    "import torch": ("-c", "import torch"),
    "eval, 64 images": EVAL,
    "eval --workers 2, 24 images": (*EVAL, "--limit", "24", "--workers", "2"),
    "sweep, 4 cells of 24 images": (
        *("-m", "harness", "sweep", *COMMON, "--limit", "24"),
        *CELLS.split(),
        *("--min-duration", "0", "--repeats", "1"),
    ),
}

#: PR_SET_CHILD_SUBREAPER of Linux's prctl: what a program leaves behind becomes a child of this
#: process, so the processor time of a server it started is counted as well.
SUBREAPER = 36


def timed(words: tuple[str, ...], checkout: Path, folder: Path) -> tuple[float, float]:
    """Seconds that a program of a checkout takes, and those of the processor for it."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as for a user
    shutil.rmtree(folder / "run", ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True
    )
    passed = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    _collect()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _collect() -> None:
    """Wait for every process that a program left behind."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def summary(found: Mapping[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Median and least of the seconds of each command, and the least of the processor."""
    return {
        "median_s": {
            name: statistics.median(one for one, _ in runs) for name, runs in found.items()
        },
        "least_s": {name: min(one for one, _ in runs) for name, runs in found.items()},
        "least_processor_s": {name: min(cpu for _, cpu in runs) for name, runs in found.items()},
    }


def main() -> None:
    """Time each command in turn, print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--networks", action="store_true", help="time what imports torch instead")
    parser.add_argument("--against", type=Path, help="another checkout, timed in turn")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    commands = NETWORKS if asked.networks else COMMANDS
    checkouts = {"here": HERE}
    if asked.against is not None:
        checkouts["against"] = asked.against.resolve()
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        place: {name: [] for name in commands} for place in checkouts
    }
    with tempfile.TemporaryDirectory() as folder:
        # The first round reads files that are not in memory; with networks that is a small part.
        for number in range(asked.repeats + (not asked.networks)):
            for name, words in commands.items():
                for place, checkout in checkouts.items():
                    one = timed(words, checkout, Path(folder))
                    if number or asked.networks:
                        found[place][name].append(one)
    settings = {"repeats": asked.repeats}
    if asked.against is None:
        keep({"settings": settings, **summary(found["here"])}, asked.output)
    else:
        both = {place: summary(runs) for place, runs in found.items()}
        keep({"settings": settings, **both}, asked.output)


if __name__ == "__main__":
    main()
