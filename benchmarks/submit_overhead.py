"""From ``harness submit eval`` to the first image, and whose time it was.

    python benchmarks/submit_overhead.py --output benchmarks/results/submit_overhead.json

Runs on a one-machine SLURM cluster that it starts (Debian packages: tests/slurm/cluster.py), with
the embedded data set and one shard, so that nothing but the way to the first image takes time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from tests.slurm.cluster import Cluster, missing_packages

PROFILE = 'partition = "main"\ncpus_per_task = 1\n'


def trial(cluster: Cluster, words: list[str], folder: Path) -> dict[str, float]:
    """Seconds of each leg, from the command to the first image on disk."""
    environment = {**os.environ, **cluster.environment}
    begun = time.time()
    command = [sys.executable, "-m", "harness", "submit", "eval", *words, "--output", str(folder)]
    done = subprocess.run(
        [*command, "--json"], check=True, env=environment, capture_output=True, text=True
    )
    returned = time.time()
    shard = folder / "shards" / "0000.jsonl"
    while not shard.exists() or shard.read_bytes().count(b"\n") < 2:
        time.sleep(0.01)
    first = time.time()
    job = json.loads(done.stdout)["jobs"][0]
    said = cluster.answer("scontrol", "show", "job", job)
    stamps = dict(word.partition("=")[::2] for word in said.split())
    started = datetime.fromisoformat(stamps["StartTime"]).timestamp()
    opened = json.loads((folder / "shards" / "0000.facts.json").read_text("utf-8"))["begun_s"]
    subprocess.run(
        [sys.executable, "-m", "harness", "wait", str(folder)],
        check=True,
        env=environment,
        capture_output=True,
    )
    return {
        "command_s": returned - begun,
        "queue_s": max(0.0, started - returned),
        "start_and_load_s": opened - max(started, returned),
        "first_image_s": first - opened,
        "total_s": first - begun,
    }


def main() -> None:
    """Start the cluster, submit and wait, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=("fake", "native"), default="native")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if missing_packages():
        sys.exit(f"install first: apt-get install {' '.join(missing_packages())}")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "profile.toml").write_text(PROFILE, encoding="utf-8")
        words = ["--engine", options.engine, "--device", "cpu", "--limit", "4", "--shards", "1"]
        words += ["--cluster", str(root / "profile.toml"), "--root", str(root / "datasets")]
        words += [] if options.weights is None else ["--weights", str(options.weights.absolute())]
        cluster = Cluster(root / "cluster")
        try:
            cluster.start()
            trial(cluster, words, root / "first")  # makes the data set, fills caches
            trials = [
                trial(cluster, words, root / str(number)) for number in range(options.repeats)
            ]
        finally:
            cluster.stop()
    settings = {"engine": options.engine, "repeats": options.repeats}
    median = {name: statistics.median(row[name] for row in trials) for name in trials[0]}
    keep({"settings": settings, "trials": trials, "median": median}, options.output)


if __name__ == "__main__":
    main()
