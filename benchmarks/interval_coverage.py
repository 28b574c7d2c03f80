"""How often a 95 % interval of AP holds the AP of the population, on simulated data sets.

    python benchmarks/interval_coverage.py

A detector of a certain quality is simulated on images of a certain kind: hard images are hard for
all objects on them, so that images and not objects are what is drawn. What an interval has to hold
is the mean AP of all data sets of the same size, which a thousand of them give.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from harness.measure.bootstrap import intervals_of
from harness.measure.columns import Objects, Results
from harness.measure.greedy import SIZES, match
from harness.measure.resampling import Matches, average_precisions, matches_of_category

#: Sides of an image.
SIDE = 600.0

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def main() -> None:
    """Simulate, count, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--categories", type=int, default=10)
    parser.add_argument("--data-sets", type=int, default=300)
    parser.add_argument("--population", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    values = [
        value_of(simulated(asked.images, asked.categories, random), asked.images)
        for _ in range(asked.population)
    ]
    truth = np.nanmean(values, axis=0)
    held = np.zeros(len(NAMES))
    for _ in range(asked.data_sets):
        matches = simulated(asked.images, asked.categories, random)
        found = intervals_of(matches, images=asked.images, resamples=asked.resamples).metrics
        held += [
            name in found and found[name].low <= value <= found[name].high
            for name, value in zip(NAMES, truth, strict=True)
        ]
    shares = (100 * held / asked.data_sets).round(1).tolist()
    keep(
        {
            "settings": {
                "repeats": 1,
                "images": asked.images,
                "categories": asked.categories,
                "data_sets": asked.data_sets,
                "population": asked.population,
                "resamples": asked.resamples,
                "seed": asked.seed,
            },
            "held_percent": dict(zip(NAMES, shares, strict=True)),
        },
        asked.output,
    )


def value_of(matches: dict[str, list[Matches]], images: int) -> np.ndarray:
    """AP, AP50, AP75, APs, APm and APl of a data set."""
    ones = np.ones((1, images))
    all_sizes = average_precisions(matches["all"], ones)[0]
    by_size = [
        average_precisions(matches[size], ones)[0].mean() for size in ("small", "medium", "large")
    ]
    return np.array([all_sizes.mean(), all_sizes[0], all_sizes[5], *by_size])


def simulated(
    images: int, categories: int, random: np.random.Generator
) -> dict[str, list[Matches]]:
    """The matches of one data set, by size class."""
    weights = 1 / np.arange(1, categories + 1)
    count = random.poisson(6, images)
    image = np.repeat(np.arange(images), count)
    category = random.choice(categories, len(image), p=weights / weights.sum())
    sides = np.exp(random.normal(np.log(60), 0.9, (len(image), 1))) * np.exp(
        random.normal(0, 0.2, (len(image), 2))
    )
    sides = np.clip(sides, 6, 400)
    boxes = np.concatenate([random.uniform(0, SIDE - sides), sides], axis=1)
    objects = Objects(
        image=image,
        category=category,
        boxes_xywh_px=boxes,
        area_px=sides.prod(axis=1),
        crowd=np.zeros(len(image), dtype=bool),
        masks=None,
    )
    hard = random.beta(2, 3, images)
    results = detected(objects, hard, categories, random)
    matching = match(objects, results)
    return {
        size: [
            matches_of_category(objects, results, matching, size=number, category=one)
            for one in range(categories)
        ]
        for number, size in enumerate(SIZES)
    }


def detected(
    objects: Objects, hard: np.ndarray, categories: int, random: np.random.Generator
) -> Results:
    """What a detector finds: worse and less sure on hard images, and some that is not there."""
    seen = random.random(len(objects.image)) < 1 - 0.6 * hard[objects.image]
    spread = (0.03 + 0.15 * hard[objects.image[seen]])[:, None]
    boxes = objects.boxes_xywh_px[seen].copy()
    boxes[:, :2] += boxes[:, 2:] * spread * random.normal(0, 1, boxes[:, 2:].shape)
    boxes[:, 2:] *= np.exp(spread * random.normal(0, 1, boxes[:, 2:].shape))
    score = random.beta(5, 2, seen.sum()) * (1 - 0.5 * hard[objects.image[seen]])
    false = np.repeat(np.arange(len(hard)), random.poisson(1 + 6 * hard))
    sides = np.clip(np.exp(random.normal(np.log(60), 0.9, (len(false), 2))), 6, 400)
    wrong = np.concatenate([random.uniform(0, SIDE - sides), sides], axis=1)
    boxes = np.concatenate([boxes, wrong])
    return Results(
        image=np.concatenate([objects.image[seen], false]),
        category=np.concatenate(
            [objects.category[seen], random.integers(0, categories, len(false))]
        ),
        boxes_xywh_px=boxes,
        score=np.concatenate([score, random.beta(1.5, 4, len(false))]),
        area_px=boxes[:, 2] * boxes[:, 3],
        masks=None,
    )


if __name__ == "__main__":
    main()
