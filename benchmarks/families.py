"""Every family of the zoo: both proofs of parity, and CPU time in pairs against Detectron2.

    python benchmarks/families.py --images photos --output families.json

One entry stands for each family. It gets seeded weights; ``harness parity`` proves its bits and its
distance from float64, and both engines infer the same images in turn, each in a process of its own
with one thread. Times are processor seconds, so other programs on the machine hardly change them.
What the output file already has is not measured again. Detectron2 has to be installed.

``--only exact`` or ``--only fast`` makes one of the two proofs, which halves the memory of a C4 at
800 px, and ``--only time`` neither; another call with the same output adds what is missing.
``--short-edge 256 --regions 100`` proves the whole network on less; and ``--score-threshold 0.005``
with objects, where generated weights give none a score of 0.05.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.forward_vs_detectron2 import Options, our_ways, their_ways
from benchmarks.pairs import Apart, compared, keep
from harness.core.architecture import Architecture
from harness.core.progress import Silent
from harness.workflows.parity import Opening, images_in, prove
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint

#: One entry a family, the cheap ones first.
ENTRIES = (
    "R_50_FPN_3x",
    "mask_rcnn_R_50_FPN_100ep_LSJ",
    "mask_rcnn_R_50_FPN_3x_syncbn",
    "mask_rcnn_R_50_FPN_3x_gn",
    "keypoint_rcnn_R_50_FPN_3x",
    "retinanet_R_50_FPN_3x",
    "cascade_mask_rcnn_R_50_FPN_3x",
    "mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
    "mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ",
    "mask_rcnn_regnety_4gf_dds_FPN_100ep_LSJ",
    "mask_rcnn_X_101_32x8d_FPN_3x",
    "mask_rcnn_R_50_DC5_3x",
    "mask_rcnn_R_50_C4_3x",
    "panoptic_fpn_R_50_3x",
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
    "panoptic_fpn_R_101_dconv_cascade_gn_3x",
    "fast_rcnn_R_50_FPN_1x",
)

#: What is measured of an entry, and a key of each part in the output.
PARTS = {"exact": "equal", "fast": "distance", "time": "time"}


def main() -> None:
    """Measure every entry that the output does not have yet; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", default=",".join(ENTRIES), help="entries, with commas between")
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts (default: all)")
    parser.add_argument("--short-edge", type=int, help="px, of the proofs alone")
    parser.add_argument("--regions", type=int, help="proposals an image, of the proofs alone")
    parser.add_argument("--score-threshold", type=float, help="of an object, of the proofs alone")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    found = stored(asked.output)
    for model in asked.models.split(","):
        known = found.setdefault(model, {})
        missing = [part for part in asked.only or PARTS if PARTS[part] not in known]
        if missing:
            with tempfile.TemporaryDirectory() as folder:
                weights = Path(folder) / "weights.safetensors"
                known.update(measured(model, missing, asked, weights))
            if asked.output is not None:
                asked.output.write_text(json.dumps({"families": found}), encoding="utf-8")
        sys.stderr.write(f"{row(model, found[model])}\n")
    settings = {"count": asked.count, "repeats": asked.repeats, "threads": 1}
    keep({"settings": settings, "families": found}, asked.output)


def stored(output: Path | None) -> dict[str, Any]:
    """What was measured before, by entry."""
    if output is None or not output.is_file():
        return {}
    return dict(json.loads(output.read_text("utf-8"))["families"])


def measured(
    model: str, parts: Sequence[str], asked: argparse.Namespace, weights: Path
) -> dict[str, Any]:
    """These parts of one entry, with what they depend on."""
    name = find_model(read_lock(), model).architecture
    architecture = architecture_of(name)
    write_checkpoint(weights, seeded_checkpoint(architecture))
    found: dict[str, Any] = {"date": time.strftime("%Y-%m-%d")}
    if set(parts) - {"time"}:
        found |= proven(smaller(architecture, asked), parts, asked, weights)
    if "time" in parts:
        found |= {
            "time": in_pairs((name, weights, "cpu", 1), asked),
            "repeats": asked.repeats,
            "load_average": round(os.getloadavg()[0], 2),
        }
    return found


def smaller(architecture: Architecture, asked: argparse.Namespace) -> Architecture:
    """The same network on smaller images, no longer than theirs by the same factor, with fewer
    regions, and with objects of lower scores.
    """
    if asked.regions is not None:
        architecture = replace(architecture, rpn_post_nms=asked.regions)
    if asked.score_threshold is not None:
        architecture = replace(architecture, score_threshold=asked.score_threshold)
    if asked.short_edge is None:
        return architecture
    longest = architecture.long_edge_max_px * asked.short_edge // architecture.short_edge_px
    return replace(architecture, short_edge_px=asked.short_edge, long_edge_max_px=longest)


def proven(
    architecture: Architecture, parts: Sequence[str], asked: argparse.Namespace, weights: Path
) -> dict[str, Any]:
    """The proofs of parity that are asked for: bits in exact arithmetic, distance from float64."""
    opening = Opening(architecture, weights, "cpu", "fp32", 1)
    paths = images_in(asked.images)[: asked.count]
    wanted = {name: name in parts for name in ("exact", "fast")}
    proofs = prove(opening, paths, **wanted, progress=Silent())
    found: dict[str, Any] = {
        "short_edge_px": architecture.short_edge_px,
        "regions": architecture.rpn_post_nms,
        "score_threshold": architecture.score_threshold,
    }
    if proofs.exact is not None:
        found |= {
            "images": proofs.exact.images,
            "detections": proofs.exact.detections,
            "equal": proofs.exact.equal,
            "stages": len(proofs.exact.stages),
            "first_difference": proofs.exact.first_difference,
        }
    if proofs.fast is not None:
        found |= {
            "distance": {stage.stage: stage.ratio for stage in proofs.fast.stages},
            "differing": len(proofs.fast.differences),
            "explained": proofs.fast.explained,
            "unexplained": proofs.fast.unexplained,
        }
    return found


def in_pairs(options: Options, asked: argparse.Namespace) -> dict[str, float]:
    """Processor seconds from the resized image to encoded detections, and peak memory."""
    paths = images_in(asked.images)[: asked.count]
    seconds: tuple[list[float], list[float]] = ([], [])
    with (
        Apart(our_ways, options, "fp32", paths) as ours,
        Apart(their_ways, options, paths) as theirs,
    ):
        for way in [f"infer of {path}" for path in paths]:
            for engine, column in zip((ours, theirs), seconds, strict=True):
                engine.cpu_seconds(way)
                column.extend(engine.cpu_seconds(way) for _ in range(asked.repeats))
        peaks = {"ours_peak_bytes": ours.peak_bytes(), "theirs_peak_bytes": theirs.peak_bytes()}
    return {**compared(*seconds), **peaks}


def row(model: str, found: dict[str, Any]) -> str:
    """One row of a Markdown table."""
    exact, fast, times = (("not measured",) * 2 for _ in PARTS)
    if "equal" in found:
        detections = found["detections"]
        exact = (f"{found['images']}, {detections}", f"{found['equal']} of {detections}")
    if "distance" in found:
        fast = (
            f"{max(found['distance'].values()):.2f}",
            f"{found['differing']}, unexplained {found['unexplained']}",
        )
    if "time" in found:
        spent = found["time"]
        ours, theirs = spent["ours_median_s"], spent["theirs_median_s"]
        times = (
            f"{spent['times_faster']:.2f} ({ours:.1f}, {theirs:.1f} s)",
            f"{spent['ours_peak_bytes'] / 2**20:.0f}, {spent['theirs_peak_bytes'] / 2**20:.0f} MiB",
        )
    return f"| {' | '.join((model, *exact, *fast, *times))} |"


if __name__ == "__main__":
    main()
