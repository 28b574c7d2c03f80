"""What 95 % intervals take beside scoring, and what ``harness diagnose`` takes, on COCO's size.

    python benchmarks/diagnosis_time.py --images 5000

The generated set of ``score_vs_pycocotools.py``; what is diagnosed has class indices and corners.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.broken_predictions import FAULTS
from benchmarks.pairs import keep
from benchmarks.score_vs_pycocotools import generated
from harness.core.tasks import Task
from harness.diagnosis.case import Case, rows_of, truth_of
from harness.diagnosis.findings import diagnose
from harness.files.environment import usable_cpus
from harness.measure.bootstrap import RESAMPLES
from harness.measure.coco import score, with_intervals
from harness.measure.parallel import Wanted, measuring


def main() -> None:
    """Generate, time, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of a diagnosis")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    content, rows = generated(asked.images)
    content = {
        **content,
        "images": [{**one, "file_name": f"{one['id']}.jpg"} for one in content["images"]],
        "categories": [{**one, "name": f"name {one['id']}"} for one in content["categories"]],
    }
    ids = list(range(1, asked.images + 1))
    seconds: dict[str, float] = {}
    for task in ("bbox", "segm"):
        seconds |= intervals(content, rows, task, ids)
    seconds |= beside(content, rows, ids)
    random = np.random.default_rng(0)
    for name in ("index-from-0", "xyxy"):
        _, rows = FAULTS[name](content, rows, random)
    begun = time.perf_counter()
    case = Case(rows=rows_of(rows), truth=truth_of(content, ("bbox", "segm")))
    found = diagnose(case, limit_s=asked.limit, clock=time.monotonic)
    seconds["diagnose"] = time.perf_counter() - begun
    keep(
        {
            "settings": {
                "repeats": 1,
                "images": asked.images,
                "detections": len(rows),
                "resamples": RESAMPLES,
                "limit_s": asked.limit,
            },
            "seconds": seconds,
            "findings": [one.name for one in found.findings],
            "measured_images": found.measured_images,
            "not_reached": list(found.not_reached),
        },
        asked.output,
    )


def beside(content: dict[str, Any], rows: list[dict[str, Any]], ids: list[int]) -> dict[str, float]:
    """Seconds of scoring both tasks in processes, as ``harness score`` does, without intervals and
    with them: two pairs in turn, of which the shorter time counts.
    """
    seconds: dict[str, float] = {}
    for resamples in (0, RESAMPLES) * 2:
        wanted = Wanted(
            annotations=content,
            predictions=rows,
            tasks=("bbox", "segm"),
            image_ids=ids,
            resamples=resamples,
        )
        begun = time.perf_counter()
        with measuring(wanted, processes=usable_cpus()) as measured:
            measured.with_intervals(measured.scores())
        name = f"score both, {resamples} resamples"
        seconds[name] = min(seconds.get(name, math.inf), time.perf_counter() - begun)
    return seconds


def intervals(
    content: dict[str, Any], rows: list[dict[str, Any]], task: Task, ids: list[int]
) -> dict[str, float]:
    """Seconds of scoring one task, and of its intervals."""
    begun = time.perf_counter()
    scores = score(content, rows, tasks=[task], image_ids=ids, processes=usable_cpus())
    scored = time.perf_counter()
    with_intervals(
        scores,
        content,
        rows,
        tasks=[task],
        image_ids=ids,
        resamples=RESAMPLES,
        threads=usable_cpus(),
    )
    return {f"score {task}": scored - begun, f"intervals {task}": time.perf_counter() - scored}


if __name__ == "__main__":
    main()
