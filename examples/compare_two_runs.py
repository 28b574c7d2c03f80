"""Compare two evaluations: is the difference more than noise?

    python examples/compare_two_runs.py --model R_50_FPN_3x --limit 500

Evaluates a model twice, the second time with smaller images, and compares the two runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import harness


def main() -> None:
    """Evaluate twice, compare, say what is more than noise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny", help="see: harness models")
    parser.add_argument(
        "--annotations", help="COCO file of your own; default: the model's data set"
    )
    parser.add_argument("--images", help="folder of its images")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--short-edge", type=int, default=160, help="of the second run, px")
    parser.add_argument("--output", type=Path, default=Path("compared"), help="folder of both runs")
    asked = parser.parse_args()

    data = {"annotations": asked.annotations, "images": asked.images, "limit": asked.limit}
    first = harness.evaluate(model=asked.model, output=asked.output / "first", **data)
    second = harness.evaluate(
        model=asked.model,
        output=asked.output / "second",
        short_edge_px=asked.short_edge,
        **data,
    )
    comparison = harness.compare(first.folder, second.folder, resamples=100)

    for name, one, other in comparison.facts:
        print(f"{name}: {one} → {other}")
    for change in comparison.metrics:
        if change.interval is None or change.first is None or change.second is None:
            continue
        low, high = change.interval.low, change.interval.high
        print(
            f"{change.metric}: {change.first:.2f} → {change.second:.2f}, "
            f"95 % of resamples {low:+.2f} … {high:+.2f}: {change.interval.word}"
        )


if __name__ == "__main__":
    main()
