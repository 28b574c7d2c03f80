"""A whole evaluation: ``harness eval`` with the native engine against the detectron2 engine.

    python benchmarks/eval_vs_detectron2.py --annotations instances.json --images photos

Load, infer, paste, encode and score, in processes of their own, in turn, with the same weights;
ours in each precision asked for. Also says how far the metrics are apart.
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
from harness.core.engine import PRECISIONS


def evaluate(
    engine: str, precision: str, asked: argparse.Namespace, weights: Path, output: Path
) -> dict[str, Any]:
    """The metrics of one evaluation, and its wall seconds."""
    words = [sys.executable, "-m", "harness", "eval", "--model", asked.model, "--engine", engine]
    words += ["--annotations", asked.annotations, "--images", asked.images, "--output", str(output)]
    words += ["--weights", str(weights), "--device", asked.device, "--precision", precision]
    words += [] if asked.limit is None else ["--limit", str(asked.limit)]
    begun = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    passed = time.perf_counter() - begun
    record = json.loads((output / "record.json").read_text("utf-8"))
    return {"wall_s": passed, "metrics": record["metrics"], "stages_s": record["stage_times_s"]}


def against(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, float]:
    """Times and ratio of one precision, and how far its metrics are from Detectron2's."""
    times = ([one["wall_s"] for one in runs] for runs in (ours, theirs))
    metrics, expected = ours[0]["metrics"], theirs[0]["metrics"]
    known = [name for name in metrics if "/A" in name and metrics[name] is not None]
    largest = max(abs(metrics[name] - expected[name]) for name in known)
    return {**compared(*times), "largest_metric_difference": largest}


def main() -> None:
    """Evaluate with both engines in turn, print and keep times, ratios and metrics."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="R_50_FPN_3x")
    parser.add_argument("--annotations", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["fp32"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    ways = [("native", precision) for precision in asked.precisions] + [("detectron2", "fp32")]
    found: dict[str, list[dict[str, Any]]] = {" ".join(way): [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "weights.safetensors"
        words = ["weights", "seeded", "--model", asked.model, "--output", str(weights)]
        subprocess.run([sys.executable, "-m", "harness", *words], check=True, capture_output=True)
        for repeat in range(asked.repeats):
            for way in ways:
                output = Path(name) / f"{'-'.join(way)}-{repeat}"
                found[" ".join(way)].append(evaluate(*way, asked, weights, output))
    theirs = found.pop("detectron2 fp32")
    settings = {key: value for key, value in vars(asked).items() if key not in ("output", "images")}
    settings["annotations"] = Path(asked.annotations).name
    result = {
        "settings": settings,
        "compared": {way: against(ours, theirs) for way, ours in found.items()},
        "runs": {**found, "detectron2 fp32": theirs},
    }
    keep(result, asked.output)


if __name__ == "__main__":
    main()
