"""Find objects in images of your own and draw them.

    python examples/predict_and_draw.py photos --model R_50_FPN_3x --output drawn

The argument is a file, a folder or a quoted glob. ``--model`` is a model entry, a run folder of a
training, or a checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import harness


def main() -> None:
    """Predict, print what was found, write drawings and COCO results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", help="file, folder or quoted glob")
    parser.add_argument("--model", default="tiny", help="model entry, run folder or checkpoint")
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score")
    parser.add_argument("--output", type=Path, default=Path("drawn"), help="folder to write")
    asked = parser.parse_args()

    asked.output.mkdir(parents=True, exist_ok=True)
    rows = []
    with harness.load_model(asked.model, threshold=asked.threshold) as model:
        for found in model.predict(asked.images):
            print(found)
            rows += found.to_coco()
            picture = harness.draw(None, found)
            picture.save(asked.output / f"{found.image_id:05}.png")
    (asked.output / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    print(f"drawings and results.json are in {asked.output}")


if __name__ == "__main__":
    main()
