"""How long the command line takes before it does anything: ``--help``, ``models``, ``eval --help``.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep

COMMANDS = ("--help", "models", "eval --help", "doctor --help")


def main() -> None:
    """Time each command in turn, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {command: [] for command in COMMANDS}
    for _ in range(asked.repeats + 1):
        for command in COMMANDS:
            begun = time.perf_counter()
            words = [sys.executable, "-m", "harness", *command.split()]
            subprocess.run(words, check=True, capture_output=True)
            seconds[command].append(time.perf_counter() - begun)
    medians = {command: statistics.median(found[1:]) for command, found in seconds.items()}
    keep({"settings": {"repeats": asked.repeats}, "median_s": medians}, asked.output)


if __name__ == "__main__":
    main()
