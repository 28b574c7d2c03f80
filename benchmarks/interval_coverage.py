"""How often a 95 % interval of AP holds the AP of the population, on simulated data sets.

    python benchmarks/interval_coverage.py --kind crowded

A detector of a certain quality is simulated on images of a certain kind
(``benchmarks/simulated_scenes.py``). What an interval has to hold is the mean AP of all data sets
of the same size.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep
from benchmarks.simulated_scenes import KINDS
from harness.measure.bootstrap import RESAMPLES, intervals_of
from harness.measure.resampling import Matches, average_precisions

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def main() -> None:
    """Simulate, count, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=tuple(KINDS), default="even")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--categories", type=int, default=10)
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    values, ends, errors = [], [], []
    for _ in range(asked.data_sets):
        matches = KINDS[asked.kind](asked.images, asked.categories, random)
        found = intervals_of(matches, images=asked.images, resamples=asked.resamples).metrics
        values.append(value_of(matches, asked.images))
        known = [found.get(name) for name in NAMES]
        ends.append([(one.low, one.high) if one else (np.nan, np.nan) for one in known])
        errors.append([one.standard_error if one else np.nan for one in known])
    truth = np.nanmean(values, axis=0)
    low, high = np.moveaxis(np.array(ends), 2, 0)
    held = 100 * ((low <= truth) & (truth <= high)).mean(axis=0)
    keep(
        {
            "settings": {
                "repeats": 1,
                "kind": asked.kind,
                "images": asked.images,
                "categories": asked.categories,
                "data_sets": asked.data_sets,
                "resamples": asked.resamples,
                "seed": asked.seed,
            },
            "mean_ap": by_name(truth),
            "held_percent": by_name(held),
            "held_too_high_percent": by_name(100 * (low > truth).mean(axis=0)),
            "standard_error_of_true": by_name(
                np.sqrt(np.nanmean(np.square(errors), axis=0)) / np.nanstd(values, axis=0)
            ),
        },
        asked.output,
    )


def by_name(values: np.ndarray) -> dict[str, float]:
    """Numbers of the metrics by name."""
    return dict(zip(NAMES, np.round(values, 3).tolist(), strict=True))


def value_of(matches: dict[str, list[Matches]], images: int) -> np.ndarray:
    """AP, AP50, AP75, APs, APm and APl of a data set."""
    ones = np.ones((1, images))
    all_sizes = average_precisions(matches["all"], ones)[0]
    by_size = [
        average_precisions(matches[size], ones)[0].mean() for size in ("small", "medium", "large")
    ]
    return np.array([all_sizes.mean(), all_sizes[0], all_sizes[5], *by_size])


if __name__ == "__main__":
    main()
