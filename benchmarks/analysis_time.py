"""What scoring, intervals and analysis take, one after the other and side by side.

    python benchmarks/analysis_time.py --images 5000

Boxes and masks, with COCO's numbers of objects and a detector's of detections
(``score_vs_pycocotools.py`` generates them); no image is drawn. All numbers must be equal.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from benchmarks.score_vs_pycocotools import generated
from harness.files.environment import usable_cpus
from harness.measure.analysis import TaskAnalysis, analyze_tasks
from harness.measure.bootstrap import RESAMPLES
from harness.measure.coco import Scores, score, with_intervals
from harness.measure.parallel import Wanted, measuring

Found = tuple[Scores, tuple[TaskAnalysis, ...]]


class Spent:
    """Wall and processor seconds of parts, those of processes that ended included."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    def timed(self, name: str, function: Callable[[], Any]) -> Any:
        """Return what a function returns."""
        wall, processor = time.perf_counter(), sum(os.times()[:4])
        found = function()
        self.parts[name] = {
            "wall_s": time.perf_counter() - wall,
            "processor_s": sum(os.times()[:4]) - processor,
        }
        return found


def in_turn(wanted: Wanted, spent: Spent) -> Found:
    """Return everything, each part after the one before."""
    sets: dict[str, Any] = {"tasks": wanted.tasks, "image_ids": wanted.image_ids}
    given = wanted.annotations, wanted.predictions
    scores = spent.timed("score", lambda: score(*given, **sets, processes=usable_cpus()))
    scores = spent.timed(
        "intervals",
        lambda: with_intervals(
            scores, *given, **sets, resamples=wanted.resamples, threads=usable_cpus()
        ),
    )
    assert wanted.threshold is not None
    threshold = wanted.threshold
    analysis = spent.timed(
        "analysis",
        lambda: analyze_tasks(*given, scores.curves, wanted.image_ids, threshold=threshold),
    )
    return scores, analysis


def side_by_side(wanted: Wanted) -> Found:
    """Return everything, computed together."""
    with measuring(wanted, processes=usable_cpus()) as measured:
        scores = measured.with_intervals(measured.scores())
        return scores, measured.analyses(scores.curves)


def main() -> None:
    """Measure both in turn, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    content, predictions = generated(asked.images)
    wanted = Wanted(
        annotations=content,
        predictions=predictions,
        tasks=("bbox", "segm"),
        image_ids=[image["id"] for image in content["images"]],
        resamples=RESAMPLES,
        threshold=0.5,
    )
    spent = Spent()
    before = spent.timed("one after the other", lambda: in_turn(wanted, spent))
    after = spent.timed("side by side", lambda: side_by_side(wanted))
    if before != after:
        sys.exit("the numbers differ")
    settings = {
        "repeats": 1,
        "images": asked.images,
        "predictions": len(predictions),
        "cpus": usable_cpus(),
        "load_average": os.getloadavg()[0],
    }
    keep({"settings": settings, "parts": spent.parts}, asked.output)


if __name__ == "__main__":
    main()
