"""A whole evaluation: ``harness eval`` with the native engine against the detectron2 engine.

    python benchmarks/eval_vs_detectron2.py --annotations instances.json --images photos

Load, infer, paste, encode and score, in processes of their own, in turn, with the same weights.
Also says how far the two APs are apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import compared, keep

ENGINES = ("native", "detectron2")


def evaluate(engine: str, asked: argparse.Namespace, weights: Path, output: Path) -> dict[str, Any]:
    """The record of one evaluation, and its wall seconds."""
    words = [sys.executable, "-m", "harness", "eval", "--model", asked.model, "--engine", engine]
    words += ["--annotations", asked.annotations, "--images", asked.images, "--output", str(output)]
    words += ["--weights", str(weights), "--device", asked.device]
    words += [] if asked.limit is None else ["--limit", str(asked.limit)]
    begun = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    passed = time.perf_counter() - begun
    record = json.loads((output / "record.json").read_text("utf-8"))
    return {"wall_s": passed, "metrics": record["metrics"], "stages_s": record["stage_times_s"]}


def main() -> None:
    """Evaluate with both engines in turn, print and keep times, ratio and APs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="R_50_FPN_3x")
    parser.add_argument("--annotations", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "weights.safetensors"
        words = ["weights", "seeded", "--model", asked.model, "--output", str(weights)]
        subprocess.run([sys.executable, "-m", "harness", *words], check=True, capture_output=True)
        for repeat in range(asked.repeats):
            for engine in ENGINES:
                output = Path(name) / f"{engine}{repeat}"
                found[engine].append(evaluate(engine, asked, weights, output))
    ours, theirs = ([one["wall_s"] for one in found[engine]] for engine in ENGINES)
    metrics = [found[engine][0]["metrics"] for engine in ENGINES]
    differences = [
        abs(metrics[0][key] - metrics[1][key])
        for key in metrics[0]
        if "/A" in key and metrics[0][key] is not None
    ]
    settings = {key: value for key, value in vars(asked).items() if key not in ("output", "images")}
    settings["annotations"] = Path(asked.annotations).name
    result = {
        "settings": settings,
        **compared(ours, theirs),
        "largest_metric_difference": max(differences),
        "runs": found,
    }
    keep(result, asked.output)


if __name__ == "__main__":
    main()
