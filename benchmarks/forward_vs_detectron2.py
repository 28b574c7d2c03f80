"""Inference of single images: the native engine against Detectron2, image by image, in turn.

    python benchmarks/forward_vs_detectron2.py --images photos --count 10

Both get the same seeded weights. Three scopes: the network alone, the way from the resized image to
encoded detections, and that with decoding and resizing. Detectron2 has to be installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import compared, in_turn, keep
from harness.core.detections import Image
from harness.core.engine import PRECISIONS
from harness.data.images import read_pixels
from harness.engines.detectron2 import open_detectron2
from harness.engines.native import open_native
from harness.measure.timing import NULL_STOPWATCH
from harness.pipeline.parity import find_images
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint


def main() -> None:
    """Open both engines, time every scope on every image, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--architecture", default="mask_rcnn_R_50_FPN")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    architecture = architecture_of(asked.architecture)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        write_checkpoint(weights, seeded_checkpoint(architecture))
        options: dict[str, Any] = {
            "architecture": architecture,
            "weights": weights,
            "device": asked.device,
            "threads": asked.threads,
        }
        theirs = open_detectron2(**options)
        ours = open_native(**options, precision=asked.precision)
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for path in find_images(asked.images)[: asked.count]:
        for scope, ways in _scopes(ours, theirs, path).items():
            seconds = in_turn(ways, asked.repeats)
            kept = columns.setdefault(scope, ([], []))
            kept[0].extend(seconds[0])
            kept[1].extend(seconds[1])
    settings = {key: value for key, value in vars(asked).items() if key not in ("output", "images")}
    found = {scope: compared(*seconds) for scope, seconds in columns.items()}
    facts = {"device_class": ours.info.device_class, "threads": ours.info.threads}
    keep({"settings": {**settings, **facts}, "scopes": found}, asked.output)


def _scopes(ours: Any, theirs: Any, path: Path) -> dict[str, list[Callable[[], object]]]:
    image = Image(image_id=1, pixels_bgr=read_pixels(path, where=str(path)))
    prepared = [engine.prepare(image, NULL_STOPWATCH) for engine in (ours, theirs)]
    tensor = torch.from_numpy(prepared[0].pixels).to(ours.device).permute(2, 0, 1)

    @torch.inference_mode()
    def our_network() -> None:
        ours.network(ours.network.batch([tensor]))
        ours.settle()

    @torch.inference_mode()
    def their_network() -> None:
        theirs.model.inference([prepared[1]], do_postprocess=False)
        theirs.settle()

    def whole(engine: Any) -> Callable[[], object]:
        def way() -> object:
            fresh = Image(image_id=1, pixels_bgr=read_pixels(path, where=str(path)))
            return engine.infer([engine.prepare(fresh, NULL_STOPWATCH)], NULL_STOPWATCH)

        return way

    return {
        "network": [our_network, their_network],
        "infer": [
            lambda: ours.infer([prepared[0]], NULL_STOPWATCH),
            lambda: theirs.infer([prepared[1]], NULL_STOPWATCH),
        ],
        "decode to detections": [whole(ours), whole(theirs)],
    }


if __name__ == "__main__":
    main()
