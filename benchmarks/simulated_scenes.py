"""Data sets and detections by chance, of two kinds, for ``benchmarks/interval_coverage.py``.

Each function takes the number of images, the number of categories and a random generator, and
returns matches by size class. What both have in common: hard images are hard for all objects on
them, so that images and not objects are what is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.measure.columns import Objects, Results
from harness.measure.greedy import SIZES, match
from harness.measure.resampling import Matches, matches_of_category

#: Sides of an image, and the least and the greatest of an object, px.
SIDE, LEAST, GREATEST = 600.0, 6.0, 400.0

#: Kinds of scenes; what is on one comes mostly from its share of the categories.
SCENES = 4


def even(images: int, categories: int, random: np.random.Generator) -> dict[str, list[Matches]]:
    """Objects of all sizes and categories on every image, most categories rare; AP around 30."""
    weights = 1 / np.arange(1, categories + 1)
    count = random.poisson(6, images)
    image = np.repeat(np.arange(images), count)
    category = random.choice(categories, len(image), p=weights / weights.sum())
    sides = np.exp(random.normal(np.log(60), 0.9, (len(image), 1))) * np.exp(
        random.normal(0, 0.2, (len(image), 2))
    )
    objects = objects_of(image, category, np.clip(sides, LEAST, GREATEST), random)
    hard = random.beta(2, 3, images)
    seen = random.random(len(image)) < 1 - 0.6 * hard[image]
    spread = (0.03 + 0.15 * hard[image[seen]])[:, None]
    boxes = moved(objects.boxes_xywh_px[seen], spread, random.normal(0, 1, (seen.sum(), 2)), random)
    score = random.beta(5, 2, seen.sum()) * (1 - 0.5 * hard[image[seen]])
    false = np.repeat(np.arange(images), random.poisson(1 + 6 * hard))
    sides = np.clip(np.exp(random.normal(np.log(60), 0.9, (len(false), 2))), LEAST, GREATEST)
    return matched(
        objects,
        categories,
        image=np.concatenate([image[seen], false]),
        category=np.concatenate([category[seen], random.integers(0, categories, len(false))]),
        boxes=np.concatenate([boxes, anywhere(sides, random)]),
        score=np.concatenate([score, random.beta(1.5, 4, len(false))]),
    )


def crowded(images: int, categories: int, random: np.random.Generator) -> dict[str, list[Matches]]:
    """Scenes with few categories and objects of about one size, none on many images and dozens on
    some; a few images are very bad, and detections on them of the wrong category; AP around 57.
    """
    scene = random.integers(SCENES, size=images)
    share = np.where(np.arange(categories) % SCENES == np.arange(SCENES)[:, None], 1.0, 0.05)
    share /= share.sum(axis=1, keepdims=True)
    image = np.repeat(np.arange(images), random.negative_binomial(0.8, 1 / 11, images))
    category = of_scenes(share[scene[image]], random)
    far = np.exp(random.normal(np.log(50), 0.8, images))
    objects = objects_of(image, category, sides_at(far[image], random), random)
    blur = random.gamma(1.5, 1 / 1.5, images)
    hard = blur * np.clip(40 / far, 0.2, 3)
    seen = random.random(len(image)) < np.exp(-0.15 * hard[image])
    spread = 0.04 * hard[image[seen], None]
    boxes = moved(
        objects.boxes_xywh_px[seen], spread, random.standard_t(4, (seen.sum(), 2)), random
    )
    found = category[seen]
    wrong = random.random(seen.sum()) < 0.05 * blur[image[seen]]
    found = np.where(wrong, (found + SCENES) % categories, found)
    false = np.repeat(np.arange(images), random.negative_binomial(1, 1 / (1 + 2 * blur)))
    centre = np.concatenate([1.2 - 0.6 * blur[image[seen]], 0.4 * blur[false] - 1.2])
    return matched(
        objects,
        categories,
        image=np.concatenate([image[seen], false]),
        category=np.concatenate([found, of_scenes(share[scene[false]], random)]),
        boxes=np.concatenate([boxes, anywhere(sides_at(far[false], random), random)]),
        score=1 / (1 + np.exp(-random.normal(centre, 0.8))),
    )


#: By name.
KINDS: Mapping[str, Callable[[int, int, np.random.Generator], dict[str, list[Matches]]]] = {
    "even": even,
    "crowded": crowded,
}


def objects_of(
    image: np.ndarray, category: np.ndarray, sides: np.ndarray, random: np.random.Generator
) -> Objects:
    """Objects of given sides, anywhere on their images."""
    return Objects(
        image=image,
        category=category,
        boxes_xywh_px=anywhere(sides, random),
        area_px=sides.prod(axis=1),
        crowd=np.zeros(len(image), dtype=bool),
        masks=None,
    )


def matched(
    objects: Objects,
    categories: int,
    *,
    image: np.ndarray,
    category: np.ndarray,
    boxes: np.ndarray,
    score: np.ndarray,
) -> dict[str, list[Matches]]:
    """The matches of detections with objects, by size class."""
    results = Results(
        image=image,
        category=category,
        boxes_xywh_px=boxes,
        score=score,
        area_px=boxes[:, 2] * boxes[:, 3],
        masks=None,
    )
    matching = match(objects, results)
    return {
        size: [
            matches_of_category(objects, results, matching, size=number, category=one)
            for one in range(categories)
        ]
        for number, size in enumerate(SIZES)
    }


def anywhere(sides: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Boxes x, y, width, height of given sides, inside an image."""
    return np.concatenate([random.uniform(0, SIDE - sides), sides], axis=1)


def sides_at(far: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Widths and heights of objects on images of a distance."""
    sides = far[:, None] * np.exp(random.normal(0, 0.35, (len(far), 2)))
    return np.clip(sides, LEAST, GREATEST)


def moved(
    boxes: np.ndarray, spread: np.ndarray, shift: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Boxes as a detector has them: shifted and scaled by a share of their sides."""
    sides = boxes[:, 2:] * np.exp(spread * random.normal(0, 1, shift.shape))
    return np.concatenate([boxes[:, :2] + boxes[:, 2:] * spread * shift, sides], axis=1)


def of_scenes(shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A category each, of (n, categories) shares."""
    chosen = (shares.cumsum(axis=1) < random.random((len(shares), 1))).sum(axis=1)
    return np.minimum(chosen, shares.shape[1] - 1)
