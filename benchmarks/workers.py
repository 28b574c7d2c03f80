"""Two workers against one with the same threads each: what sharing a machine costs.

    python benchmarks/workers.py --output benchmarks/results/workers.json

Ideal is twice the throughput of one worker that has half of the cores to itself. Start-up is not
counted: throughput runs from the first image to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep


def throughput(workers: int, options: argparse.Namespace, folder: Path) -> float:
    """Images a second over all workers."""
    command = [sys.executable, "-m", "harness", "eval", "--device", "cpu", "--loaders", "1"]
    command += ["--model", options.model, "--weights", str(options.weights)]
    command += ["--threads", str(options.threads), "--workers", str(workers)]
    command += ["--limit", str(options.limit * workers), "--json", "--output", str(folder)]
    command += ["--annotations", str(options.annotations), "--images", str(options.images)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    fps: float = json.loads(done.stdout)["metrics"]["throughput/all_devices_fps"]
    return fps


def main() -> None:
    """Measure in turn, print and keep both throughputs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="R_50_FPN_3x")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=max(1, len(os.sched_getaffinity(0)) // 2))
    parser.add_argument("--limit", type=int, default=8, help="images of each worker")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    ones, twos = [], []
    with tempfile.TemporaryDirectory() as root:
        for repeat in range(options.repeats):
            ones.append(throughput(1, options, Path(root) / f"one-{repeat}"))
            twos.append(throughput(2, options, Path(root) / f"two-{repeat}"))
    settings = {
        "model": options.model,
        "threads_each": options.threads,
        "images_each": options.limit,
        "repeats": options.repeats,
    }
    found = {
        "one_worker_fps": ones,
        "two_workers_fps": twos,
        "share_of_ideal": statistics.median(twos) / (2 * statistics.median(ones)),
    }
    keep({"settings": settings, **found}, options.output)


if __name__ == "__main__":
    main()
