"""Evaluate a model and read the verdict: was the published accuracy reproduced here?

    python examples/evaluate_and_read_the_verdict.py --model R_50_FPN_3x

Without arguments it evaluates the embedded model on the embedded data set.
"""

from __future__ import annotations

import argparse

import harness


def main() -> None:
    """Evaluate, then print checks, verdict and the hardest categories."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny", help="see: harness models")
    parser.add_argument(
        "--annotations", help="COCO file of your own; default: the model's data set"
    )
    parser.add_argument("--images", help="folder of its images")
    parser.add_argument("--output", help="run folder; default: below results/runs")
    asked = parser.parse_args()

    result = harness.evaluate(
        model=asked.model,
        annotations=asked.annotations,
        images=asked.images,
        output=asked.output,
        progress=True,
    )

    for check in result.checks:
        expected = "" if check.reference is None else f", reference {check.reference.value:.3f}"
        print(f"{check.metric}: {check.measured}{expected}: {check.status.value} {check.reason}")
    print(result.verdict.line)

    rated = [row for row in result.per_category if row.task == "bbox" and row.ap is not None]
    for row in sorted(rated, key=lambda row: row.ap or 0.0)[:3]:
        print(f"hardest: {row.name}, box AP {row.ap:.1f}")
    print(f"everything is in {result.folder}; predictions: {result.predictions_path}")


if __name__ == "__main__":
    main()
