"""Scoring of a generated set of COCO's size: ``harness score`` against pycocotools, in turn.

    python benchmarks/score_vs_pycocotools.py --images 5000

Boxes and masks, with COCO's numbers of objects (7.3 an image) and a detector's (33 an image).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import compared, in_turn, keep
from harness.core.requests.inference import Evaluator
from harness.files.environment import usable_cpus
from harness.measure.coco import score
from harness.measure.masks import rle_of

HEIGHT, WIDTH, CATEGORIES = 480, 640, 80

#: Objects and detections an image: COCO val2017's 36,781 of 5,000 images, and a Mask R-CNN's.
OBJECTS, DETECTIONS = 7.3, 33.0


def generated(images: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations, and predictions of which some fit and most do not."""
    random = np.random.Generator(np.random.PCG64(1))
    annotations: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        truth = [_object(random, image) for _ in range(random.poisson(OBJECTS))]
        annotations += [{**one, "id": len(annotations) + n + 1} for n, one in enumerate(truth)]
        for _ in range(random.poisson(DETECTIONS)):
            near = truth[random.integers(len(truth))] if truth and random.random() < 0.4 else None
            predictions.append(_prediction(random, image, near))
    return {
        "images": [{"id": n, "height": HEIGHT, "width": WIDTH} for n in range(1, images + 1)],
        "categories": [{"id": n, "name": str(n)} for n in range(1, CATEGORIES + 1)],
        "annotations": annotations,
    }, predictions


def _object(random: np.random.Generator, image: int) -> dict[str, Any]:
    width, height = np.exp(random.normal(np.log(60), 0.9, 2)).clip(4, 460)
    x, y = random.uniform(0, WIDTH - width), random.uniform(0, HEIGHT - height)
    return {
        "image_id": image,
        "category_id": int(random.integers(1, CATEGORIES + 1)),
        "bbox": [float(x), float(y), float(width), float(height)],
        "area": float(width * height * 0.8),
        "iscrowd": 0,
        "segmentation": [_outline(random, x, y, width, height)],
    }


def _prediction(
    random: np.random.Generator, image: int, near: dict[str, Any] | None
) -> dict[str, Any]:
    found = _object(random, image)
    if near is not None:
        x, y, width, height = near["bbox"]
        moved = [x + random.normal(0, width / 15), y + random.normal(0, height / 15)]
        found["category_id"], found["bbox"] = near["category_id"], [*moved, width, height]
    mask = rle_of([_outline(random, *found["bbox"])], HEIGHT, WIDTH)
    return {
        "image_id": image,
        "category_id": found["category_id"],
        "bbox": found["bbox"],
        "score": float(random.random()),
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": mask.counts},
    }


def _outline(
    random: np.random.Generator, x: float, y: float, width: float, height: float
) -> list[float]:
    """A star-shaped polygon of 24 points inside the box."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radii = random.uniform(0.7, 1.0, 24) / 2
    points = np.stack(
        (x + width * (0.5 + radii * np.cos(angles)), y + height * (0.5 + radii * np.sin(angles))),
        axis=1,
    )
    return [float(value) for value in points.ravel()]


def main() -> None:
    """Generate, score with both in turn, print and keep the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=usable_cpus(), help="of ours")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    annotations, predictions = generated(asked.images)
    ids = list(range(1, asked.images + 1))

    def way(evaluator: Evaluator, processes: int) -> Any:
        return lambda: score(
            annotations,
            predictions,
            tasks=("bbox", "segm"),
            image_ids=ids,
            evaluator=evaluator,
            processes=processes,
        )

    # pycocotools knows one process.
    ways = [way("fast", asked.processes), way("pycocotools", 1)]
    seconds = in_turn(ways, asked.repeats)
    settings = {
        "images": asked.images,
        "objects": len(annotations["annotations"]),
        "detections": len(predictions),
        "processes": asked.processes,
        "repeats": asked.repeats,
    }
    keep({"settings": settings, **compared(*seconds)}, asked.output)


if __name__ == "__main__":
    main()
