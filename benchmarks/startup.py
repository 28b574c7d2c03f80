"""How long the command line takes before it does anything, and ``import harness`` in a program.

Medians say how long one waits; on a busy machine the least of many runs, and the processor's time,
say what the program needs.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep

#: Name → words after the interpreter.
COMMANDS = {
    **{
        name: ("-m", "harness", *name.split())
        for name in ("--help", "models", "eval --help", "doctor --help")
    },
    "import harness": ("-c", "import harness"),
    "nothing": ("-c", "pass"),
}


def timed(words: tuple[str, ...]) -> tuple[float, float]:
    """Seconds that a program takes, and those of the processor for it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    passed = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time each command in turn, print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for number in range(asked.repeats + 1):
        for name, words in COMMANDS.items():
            one = timed(words)
            if number:  # the first one reads files that are not in memory yet
                found[name].append(one)
    seconds = {name: [passed for passed, _ in runs] for name, runs in found.items()}
    keep(
        {
            "settings": {"repeats": asked.repeats},
            "median_s": {name: statistics.median(runs) for name, runs in seconds.items()},
            "least_s": {name: min(runs) for name, runs in seconds.items()},
            "least_processor_s": {
                name: min(cpu for _, cpu in runs) for name, runs in found.items()
            },
        },
        asked.output,
    )


if __name__ == "__main__":
    main()
