"""Inference of single images: the native engine against Detectron2, image by image, in turn.

    python benchmarks/forward_vs_detectron2.py --images photos --count 10

Both get the same seeded weights, and a process of their own. Three scopes: the network alone, the
way from the resized image to encoded detections, and that with decoding and resizing. Detectron2
has to be installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import Apart, compared, in_turn, keep
from harness.core.detections import Image
from harness.core.engine import PRECISIONS, Precision
from harness.data.images import read_pixels
from harness.data.proposals import generated_proposals
from harness.engines.detectron2 import open_detectron2
from harness.engines.devices import device_class, find_device
from harness.engines.native import open_native
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.parity import images_in
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint

SCOPES = ("network", "infer", "decode to detections")

#: Name of the architecture, weights, device, CPU threads.
Options = tuple[str, Path, str, int | None]
Ways = Mapping[str, Callable[[], object]]


def main() -> None:
    """Time every scope on every image with both engines, print and keep medians and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--architecture", default="mask_rcnn_R_50_FPN")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--exact", action="store_true", help="time Detectron2's own arithmetic")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    paths = images_in(asked.images)[: asked.count]
    columns: dict[str, tuple[list[float], list[float]]] = {scope: ([], []) for scope in SCOPES}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        write_checkpoint(weights, seeded_checkpoint(architecture_of(asked.architecture)))
        options = (asked.architecture, weights, asked.device, asked.threads)
        with (
            Apart(our_ways, options, asked.precision, paths, asked.exact) as ours,
            Apart(their_ways, options, paths) as theirs,
        ):
            for path in paths:
                for scope in SCOPES:
                    name = f"{scope} of {path}"
                    pair = in_turn([ours.way(name), theirs.way(name)], asked.repeats)
                    columns[scope][0].extend(pair[0])
                    columns[scope][1].extend(pair[1])
            peaks = {"ours_peak_bytes": ours.peak_bytes(), "theirs_peak_bytes": theirs.peak_bytes()}
    settings = {key: value for key, value in vars(asked).items() if key not in ("output", "images")}
    settings["device_class"] = device_class(find_device(asked.device))
    found = {scope: compared(*seconds) for scope, seconds in columns.items()}
    keep({"settings": settings, "scopes": found, **peaks}, asked.output)


def our_ways(
    options: Options, precision: Precision, paths: list[Path], exact: bool = False
) -> Ways:
    """The native engine's."""
    name, weights, device, threads = options
    engine = open_native(
        architecture=architecture_of(name),
        weights=weights,
        device=device,
        threads=threads,
        precision=precision,
        exact=exact,
    )

    @torch.inference_mode()
    def network(prepared: Any) -> None:
        tensor = torch.from_numpy(prepared.pixels).to(engine.device).permute(2, 0, 1)
        engine.network(engine.network.batch([tensor]))
        engine.synchronize()

    return ways(engine, network, paths)


def their_ways(options: Options, paths: list[Path]) -> Ways:
    """Detectron2's."""
    name, weights, device, threads = options
    engine = open_detectron2(
        architecture=architecture_of(name), weights=weights, device=device, threads=threads
    )

    @torch.inference_mode()
    def network(prepared: Any) -> None:
        engine.model.inference([prepared], do_postprocess=False)
        engine.synchronize()

    return ways(engine, network, paths)


def ways(engine: Any, network: Callable[[Any], None], paths: list[Path]) -> Ways:
    """Every scope of every image by name, of an engine whose ``network`` takes a prepared image."""
    found: dict[str, Callable[[], object]] = {}
    for path in paths:
        prepared = _prepared(engine, path)
        found |= {
            f"network of {path}": partial(network, prepared),
            f"infer of {path}": partial(engine.infer, [prepared], NULL_STOPWATCH),
            f"decode to detections of {path}": partial(_whole, engine, path),
        }
    return found


def _prepared(engine: Any, path: Path) -> Any:
    image = Image(image_id=1, pixels_bgr=read_pixels(path, where=str(path)))
    if engine.info.architecture.given_proposals:  # as many as a file has: they take the same time
        image = replace(image, proposals_xyxy_px=generated_proposals(image))
    return engine.prepare(image, NULL_STOPWATCH)


def _whole(engine: Any, path: Path) -> object:
    return engine.infer([_prepared(engine, path)], NULL_STOPWATCH)


if __name__ == "__main__":
    main()
