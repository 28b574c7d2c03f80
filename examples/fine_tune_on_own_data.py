"""Fine-tune a model on data of your own, then find objects with what was learned.

    python examples/fine_tune_on_own_data.py train.json train_images val.json val_images \
        --model R_50_FPN_3x --init zoo --iterations 3000

Both files are COCO annotation files with the same categories; ``harness.convert`` makes them from
what a labelling program writes.
"""

from __future__ import annotations

import argparse

import harness


def main() -> None:
    """Train, print the accuracy, predict with the best weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("train_annotations")
    parser.add_argument("train_images")
    parser.add_argument("val_annotations")
    parser.add_argument("val_images")
    parser.add_argument("--model", default="tiny", help="see: harness models")
    parser.add_argument("--init", default="zoo", help="weights to begin with")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--short-edge", type=int, help="px; default: the model's")
    parser.add_argument("--output", help="run folder; default: below results/runs")
    asked = parser.parse_args()

    result = harness.train(
        model=asked.model,
        init=asked.init,
        train_annotations=asked.train_annotations,
        train_images=asked.train_images,
        val_annotations=asked.val_annotations,
        val_images=asked.val_images,
        iterations=asked.iterations,
        batch_size=asked.batch_size,
        short_edge_px=asked.short_edge,
        output=asked.output,
        progress=True,
    )
    print(f"box AP {result.metrics['bbox/AP']}, weights and curves in {result.folder}")

    with harness.load_model(result.folder, threshold=0.3) as model:
        print(model, "knows", ", ".join(category.name for category in model.categories))
        for found in model.predict(asked.val_images)[:5]:
            print(found)


if __name__ == "__main__":
    main()
