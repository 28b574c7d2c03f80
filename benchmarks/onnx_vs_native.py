"""Inference of single images: an exported file in ONNX Runtime against the engine it comes from.

    python benchmarks/onnx_vs_native.py --images photos --count 3

The file is exported here, from seeded weights; its size and the seconds that took are told. Every
engine has a process of its own and they take turns, image by image, in three scopes: the network
alone, the way from the resized image to encoded detections, and that with decoding and resizing.
Where Detectron2 is installed, it takes its turn as well.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.forward_vs_detectron2 import SCOPES, Ways, our_ways, their_ways, ways
from benchmarks.pairs import Apart, compared, in_turn, keep
from harness.core.progress import Silent
from harness.core.requests.zoo import ExportRequest
from harness.engines.devices import device_class, find_device
from harness.engines.onnx import SessionNetwork, open_onnx
from harness.workflows.export import export
from harness.workflows.parity import images_in
from harness.zoo.architectures import architecture_of
from harness.zoo.exported import read_facts
from harness.zoo.lock import find_model, read_lock
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.composing import composed


def main() -> None:
    """Export, time every scope on every image with all engines, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="R_50_FPN_3x")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    paths = images_in(asked.images)[: asked.count]
    architecture = find_model(read_lock(), asked.model).architecture
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        write_checkpoint(weights, seeded_checkpoint(architecture_of(architecture)))
        request = composed(
            ExportRequest,
            model=asked.model,
            weights=weights,
            output=Path(folder) / "model.onnx",
            images=asked.images,
            limit=asked.count,
            threads=asked.threads,
        )
        exported = export(request, progress=Silent())
        options = (architecture, weights, "cpu", asked.threads)
        builds: dict[str, tuple[Any, ...]] = {
            "native": (our_ways, options, "fp32", paths),
            "onnx": (onnx_ways, exported.path, asked.threads, paths),
        }
        if importlib.util.find_spec("detectron2") is not None:
            builds["detectron2"] = (their_ways, options, paths)
        columns, peaks = timed(builds, paths, asked.repeats)
    settings = {key: value for key, value in vars(asked).items() if key not in ("output", "images")}
    agreement = exported.parity.agreement
    result = {
        "settings": {**settings, "device_class": device_class(find_device("cpu"))},
        "export": {
            "seconds": exported.seconds,
            "bytes": exported.bytes,
            "opset": exported.opset,
            "first_failing": exported.parity.first_failing,
            "detections": agreement.detections,
            "max_box_px": agreement.max_box_px,
            "max_score": agreement.max_score,
            "mask_off_px": agreement.mask_off_px,
        },
        # "ours" is the exported file, "theirs" the engine that is named.
        "scopes": {
            scope: {
                name: compared(columns["onnx"][scope], columns[name][scope])
                for name in builds
                if name != "onnx"
            }
            for scope in SCOPES
        },
        "peak_bytes": peaks,
    }
    keep(result, asked.output)


def timed(
    builds: dict[str, tuple[Any, ...]], paths: list[Path], repeats: int
) -> tuple[dict[str, dict[str, list[float]]], dict[str, int]]:
    """Seconds by engine and scope, in turn, and the most memory of each engine's process."""
    columns: dict[str, dict[str, list[float]]] = {
        name: {scope: [] for scope in SCOPES} for name in builds
    }
    with ExitStack() as stack:
        engines = {name: stack.enter_context(Apart(*build)) for name, build in builds.items()}
        for path in paths:
            for scope in SCOPES:
                turns = [engine.way(f"{scope} of {path}") for engine in engines.values()]
                for name, seconds in zip(engines, in_turn(turns, repeats), strict=True):
                    columns[name][scope].extend(seconds)
        return columns, {name: engine.peak_bytes() for name, engine in engines.items()}


def onnx_ways(file: Path, threads: int | None, paths: list[Path]) -> Ways:
    """Those of an exported file."""
    architecture = read_facts(file).architecture
    engine = open_onnx(architecture=architecture, weights=file, device="cpu", threads=threads)
    return ways(engine, partial(network, engine.network), paths)


def network(session: SessionNetwork, prepared: Any) -> None:
    """The file alone, without pasting."""
    session.values(prepared.pixels)


if __name__ == "__main__":
    main()
