"""Bits of Detectron2 on small networks, as far as can be the same on every x86-64 processor.

    python -m tests.golden.bits NAME …            digests of --exact
    python -m tests.golden.bits --record          of Detectron2, written to bits.json

A processor chooses the kernels that it computes with, and with them the order of sums. Here this is
fixed, before torch is loaded: kernels for AVX2, MKL's reproducible mode, one thread, and neither
oneDNN nor NNPACK. What cannot be fixed is told apart by torch's operators themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from harness.core.architecture import Architecture
    from harness.core.detections import Detections

#: What a process has in its environment before it loads torch.
ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}

#: Digits of a digest that are kept.
DIGITS = 12

#: Name of the network of which one weight is moved by its last bit.
NUDGED = "tiny, nudged"


def architectures() -> dict[str, Architecture]:
    """Every network by name."""
    from harness.zoo.architectures import tiny
    from tests.golden import dense_losses, keypoint_losses
    from tests.golden.families import FAMILIES, narrow

    return {
        "tiny": tiny(),
        "small_retinanet": dense_losses.architecture(),
        "tiny_keypoints": keypoint_losses.architecture(),
        **{name: narrow(name) for name in FAMILIES},
    }


def digests(architecture: Architecture, *, reference: bool = False, nudged: bool = False) -> Any:
    """Digest of every stage and every part of the detections, of one picture.

    Args:
        architecture: Architecture, with seeded weights.
        reference: Detectron2, not the native engine.
        nudged: One weight of the box head is another float32, the next one.
    """
    import numpy as np

    from harness.engines.detectron2 import open_detectron2
    from harness.engines.native import open_native
    from harness.engines.stages import detectron2_stages, own_stages
    from harness.measure.timing import NULL_STOPWATCH
    from harness.zoo.seeded import seeded_checkpoint
    from harness.zoo.weights import write_checkpoint
    from tests.golden.cases import pictures_for

    tensors = seeded_checkpoint(architecture)
    if nudged:
        first = tensors["roi_heads.box_predictor.cls_score.weight"].reshape(-1)
        first[:1] = np.nextafter(first[:1], np.float32(1))
    picture = pictures_for(architecture)[0]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        write_checkpoint(weights, tensors)
        opened: dict[str, Any] = {"architecture": architecture, "weights": weights}
        if reference:
            theirs = open_detectron2(**opened, device="cpu", threads=1)
            given = theirs.prepare(picture, NULL_STOPWATCH)
            stages, _ = detectron2_stages(theirs, given)
            found = theirs.infer([given], NULL_STOPWATCH)[0]
        else:
            ours = open_native(**opened, device="cpu", threads=1, exact=True)
            prepared = ours.prepare(picture, NULL_STOPWATCH)
            stages, _ = own_stages(ours, prepared)
            found = ours.infer([prepared], NULL_STOPWATCH)[0]
    assert len(found) >= 5, "too few detections to prove anything"
    return {name: digest_of(values) for name, values in (*stages.items(), *parts_of(found))}


def parts_of(found: Detections) -> Iterator[tuple[str, np.ndarray]]:
    """What an image is answered with, part by part."""
    import numpy as np

    yield "boxes", found.boxes_xyxy_px
    yield "scores", found.scores
    yield "classes", found.class_index
    if found.masks is not None:
        yield "masks", np.frombuffer("\n".join(one.counts for one in found.masks).encode(), "u1")
    if found.keypoints is not None:
        yield "keypoints", found.keypoints
    if found.panoptic is not None:
        yield "map of segments", found.panoptic.ids


def digest_of(values: np.ndarray) -> str:
    """The first digits of the sha256 of an array's bytes."""
    return hashlib.sha256(values.tobytes()).hexdigest()[:DIGITS]


def arithmetic() -> dict[str, str]:
    """What the bits depend on: versions, and digests of what torch's own operators answer here.

    Where one of them answers otherwise, as MKL's exponential may on another processor, other bits
    say nothing about the networks. Builds for a GPU compute alike on a CPU.
    """
    import torch
    import torchvision
    from torch.nn import functional as f

    numbers = torch.Generator().manual_seed(7)
    maps, wide, rows = (
        torch.randn(size, generator=numbers) for size in ((1, 64, 25, 34), (64, 64, 3, 3), (70, 64))
    )
    boxes = torch.tensor([[0.0, 1.5, 2.5, 20.0, 22.0], [0.0, 3.0, 4.0, 9.0, 8.0]])
    answers = {
        "exp": rows.exp(),
        "log2": rows.abs().log2(),
        "sigmoid": maps.sigmoid(),
        "softmax": rows.softmax(1),
        "matrices": rows @ wide[:, :, 1, 1],
        "linear": f.linear(rows, wide[:, :, 0, 0], wide[:, 0, 0, 0]),
        "convolution": f.conv2d(maps, wide, padding=1),
        "convolution 1x1": f.conv2d(maps, wide[:, :, :1, :1], stride=2),
        "convolution in groups": f.conv2d(maps, wide[:, :8], padding=1, groups=8),
        "deconvolution": f.conv_transpose2d(maps, wide[:, :, :2, :2], stride=2),
        "batch norm": f.batch_norm(maps, rows[0], rows[1].abs(), rows[2], rows[3]),
        "group norm": f.group_norm(maps, 32, rows[0], rows[1]),
        "bilinear": f.interpolate(maps, scale_factor=2, mode="bilinear"),
        "bicubic": f.interpolate(maps, (40, 50), mode="bicubic"),
        "grid": f.grid_sample(maps, rows[:, :2].reshape(1, 7, 10, 2), align_corners=False),
        "pooling": torchvision.ops.roi_align(maps, boxes, 7, aligned=True),
    }
    return {
        "torch": torch.__version__.partition("+")[0],
        "torchvision": torchvision.__version__.partition("+")[0],
        **{name: digest_of(answer.numpy()) for name, answer in answers.items()},
    }


def main(names: list[str]) -> None:
    """Print what was computed, or record it."""
    if any(os.environ.get(name) != value for name, value in ARITHMETIC.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.golden.bits", *names],
            {**os.environ, **ARITHMETIC},
        )
    import torch

    torch.backends.mkldnn.set_flags(False)
    torch.backends.nnpack.set_flags(False)
    known = architectures()
    if names == ["--record"]:
        from tests.uncompiled import offer_deformable_convolutions

        offer_deformable_convolutions()
        found = {name: digests(one, reference=True) for name, one in known.items()}
        text = json.dumps({"arithmetic": arithmetic(), "networks": found}, indent=1) + "\n"
        Path(__file__).with_suffix(".json").write_text(text, encoding="utf-8")
        return
    found = {
        name: digests(known["tiny"], nudged=True) if name == NUDGED else digests(known[name])
        for name in names
    }
    sys.stdout.write(json.dumps({"arithmetic": arithmetic(), "networks": found}))


if __name__ == "__main__":
    main(sys.argv[1:])
