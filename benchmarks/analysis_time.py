"""What analyzing a run takes beside its scoring, on a generated set of COCO's size.

    python benchmarks/analysis_time.py --images 5000

Boxes and masks, with COCO's numbers of objects and a detector's of detections
(``score_vs_pycocotools.py`` generates them); no image is drawn.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from benchmarks.score_vs_pycocotools import generated
from harness.files.environment import usable_cpus
from harness.measure.analysis import analyze_tasks
from harness.measure.coco import score
from harness.measure.matching import match_images
from harness.measure.tide import analyze_errors


def timed(function: Any, *arguments: Any, **options: Any) -> tuple[Any, float]:
    """Return what a function returns, and its seconds."""
    begun = time.perf_counter()
    return function(*arguments, **options), time.perf_counter() - begun


def main() -> None:
    """Score, analyze, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    content, predictions = generated(asked.images)
    image_ids = [image["id"] for image in content["images"]]
    tasks = ("bbox", "segm")
    scores, score_s = timed(
        score, content, predictions, tasks=tasks, image_ids=image_ids, processes=usable_cpus()
    )
    _, analysis_s = timed(
        analyze_tasks, content, predictions, scores.curves, image_ids, threshold=0.5
    )
    parts = {}
    for task in tasks:
        found, parts[f"{task} matching"] = timed(
            match_images, content, predictions, task, image_ids
        )
        _, parts[f"{task} errors"] = timed(analyze_errors, found)
    keep(
        {
            "settings": {
                "repeats": 1,
                "images": asked.images,
                "predictions": len(predictions),
            },
            "score_s": score_s,
            "analysis_s": analysis_s,
            "parts_s": parts,
        },
        asked.output,
    )


if __name__ == "__main__":
    main()
