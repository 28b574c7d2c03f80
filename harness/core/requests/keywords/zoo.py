"""Keywords of the Python API: settings of ``zoo``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict

from typing_extensions import Required

from harness.core.requests.keywords.inference import ModelSpecKeys


class DownloadSettings(TypedDict, total=False):
    """Keywords of `download`, those of `DownloadRequest`."""

    only: Iterable[
        Literal[
            "annotations",
            "panoptic",
            "panoptic_train",
            "val",
            "val100",
            "rem",
            "mlperf",
            "train",
            "test",
            "train_proposals",
            "checkpoints",
            "zoo",
            "torchvision",
            "backbones",
        ]
    ]
    """Groups of files; the default is what evaluation needs (of annotations, panoptic,
    panoptic_train, val, val100, rem, mlperf, train, test, train_proposals, checkpoints, zoo,
    torchvision, backbones; default: annotations,val,checkpoints)."""

    models: Iterable[str]
    """Only the checkpoints of these model entries (default: all)."""

    root: str | Path
    """Folder everything goes to (default: datasets)."""

    mirror: str | None
    """Http, https or file address to fetch everything from, laid out as the originals (default: the
    published addresses)."""

    jobs: int
    """Connections at once (default: 4)."""

    keep_archives: bool
    """Keep archives after they were unpacked."""

    dry_run: bool
    """Print what would be done, do nothing."""


class CheckWeightsSettings(TypedDict, total=False):
    """Keywords of `check_weights`, those of `CheckWeightsRequest`."""

    model: str | None
    """Model entry it must fit (default: any)."""

    annotations: str | Path | None
    """COCO file that lists the classes of weights of your own (default: what weights or training in
    the folder say, else the model's own classes)."""


class ExportModelSettings(ModelSpecKeys, total=False):
    """Keywords of `export_model`, those of `ExportRequest`."""

    annotations: str | Path | None
    """COCO file that lists the classes of your own weights (default: the model's own)."""

    panoptic: str | Path | None
    """Panoptic annotation file that lists the kinds of stuff of your own weights (default: the
    model's own)."""

    output: str | Path | None
    """File to write, ending .onnx or .pt2 (default: <root>/exported/<model>.<format>)."""

    format: Literal["onnx", "pt2"] | None
    """Onnx for ONNX Runtime and others, pt2 for torch.export.load (default: the ending of --output,
    else onnx)."""

    opset: int
    """Version of ONNX's operators, 18 to 21; for --format onnx (default: 18)."""

    score_threshold: float | None
    """Lowest score of a detection, in the graph (default: the model's own)."""

    max_detections: int | None
    """Detections kept for an image, in the graph (default: the model's own)."""

    short_edge_px: int | None
    """Length the shorter edge of an image is resized to (in px; default: that of the training of
    the weights, else the model's own)."""

    long_edge_max_px: int | None
    """Greatest length of the longer edge after resizing (in px; default: that of the training of
    the weights, else the model's own)."""

    images: str | Path | None
    """Folder of images to try the file on (default: the model's own data set, or the embedded
    one)."""

    limit: int
    """Only the first N images by name (default: 4)."""

    threads: int | None
    """CPU threads (default: all cores, or OMP_NUM_THREADS)."""


class CheckParitySettings(TypedDict, total=False):
    """Keywords of `check_parity`, those of `ParityRequest`."""

    model: str
    """Model entry; see: harness models (default: R_50_FPN_3x)."""

    weights: str | Path | None
    """Checkpoint file instead of the pinned one (default: the model's own)."""

    root: str | Path
    """Folder of data sets and checkpoints (default: datasets)."""

    images: Required[str | Path]
    """Folder of images."""

    against: Literal["detectron2", "float64", "onnx", "pt2"]
    """What the native engine is compared with (default: detectron2)."""

    device: str
    """Where it computes: auto, cpu, cuda or cuda:N; an exported file: on the CPU (default:
    auto)."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    """Precision to prove, against its own rounding (default: fp32)."""

    exact_only: bool
    """Only the proof that --exact has Detectron2's bits."""

    exported: str | Path | None
    """Exported file, with --against onnx or pt2 (default: where harness export writes)."""

    limit: int | None
    """Only the first N images by name (default: all)."""

    threads: int | None
    """CPU threads (default: all cores, or OMP_NUM_THREADS)."""
