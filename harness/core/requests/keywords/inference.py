"""Keywords of the Python API: settings of ``inference``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict

from harness.core.requests.keywords.reports import ForeignOptionsKeys


class ModelSpecKeys(TypedDict, total=False):
    """Keywords of `ModelSpec`."""

    model: str
    """Model entry; see: harness models (default: tiny)."""

    weights: str | Path | None
    """Checkpoint file instead of the pinned one (default: the model's own)."""

    root: str | Path
    """Folder of data sets and checkpoints (default: datasets)."""


class DataSpecKeys(TypedDict, total=False):
    """Keywords of `DataSpec`."""

    dataset: str | None
    """Data set by name, such as coco_2017_val (default: the one of the model's numbers)."""

    annotations: str | Path | None
    """COCO annotation file of your own (default: the data set's)."""

    images: str | Path | None
    """Folder of the images that the annotation file lists (default: the data set's)."""

    proposals: str | Path | None
    """Region proposals of these images, for a network that takes them from a file (Fast R-CNN):
    Detectron2's pickle, COCO results, or a run of an RPN (default: those the model was published
    with)."""

    panoptic: str | Path | None
    """Panoptic annotation file of the same images (default: the data set's)."""

    panoptic_masks: str | Path | None
    """Folder of the PNGs that the panoptic annotation file lists (default: beside that file, with
    its name)."""

    limit: int | None
    """Only the first N images; the numbers are then not comparable (default: all)."""

    verify_images: bool
    """Recognise images that were replaced by their contents, not by size and time."""


class EngineOptionsKeys(TypedDict, total=False):
    """Keywords of `EngineOptions`."""

    engine: Literal["native", "detectron2", "torchvision", "onnx", "pt2", "fake"] | None
    """Implementation of the network (default: the model's own)."""

    device: str
    """Where it computes: auto, cpu, cuda or cuda:N (default: auto)."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    """Arithmetic of the network; verdicts need fp32 (default: fp32)."""

    memory_format: Literal["channels_last", "contiguous"] | None
    """Layout of feature maps in memory (default: the engine's own)."""

    compile: bool
    """Compile with torch.compile, at the first image."""

    exact: bool
    """Compute in Detectron2's own arithmetic: the same bits, but slower."""

    graphs: bool
    """Run repeated shapes of images as CUDA graphs on a GPU (default: on)."""

    batch_size: int
    """Images the network computes at once (default: 1)."""

    loaders: int | None
    """Threads that decode and resize ahead (default: 2, and for a GPU as many as there are cores,
    up to 16)."""

    threads: int | None
    """CPU threads of the network (default: all cores, or OMP_NUM_THREADS)."""


class RecipeOverridesKeys(TypedDict, total=False):
    """Keywords of `RecipeOverrides`."""

    score_threshold: float | None
    """Lowest score of a detection, 0 to 1 (default: the model's own)."""

    max_detections: int | None
    """Detections kept for an image (default: the model's own)."""

    short_edge_px: int | None
    """Length the shorter edge of an image is resized to (in px; default: that of the training of
    the weights, else the model's own)."""

    long_edge_max_px: int | None
    """Greatest length of the longer edge after resizing (in px; default: that of the training of
    the weights, else the model's own)."""

    channel_order: Literal["BGR", "RGB"] | None
    """Order of the colours the network is given (default: the model's own)."""


class InferenceRequestKeys(
    ModelSpecKeys,
    DataSpecKeys,
    EngineOptionsKeys,
    RecipeOverridesKeys,
    total=False,
):
    """Keywords of `InferenceRequest`."""


class CertaintyKeys(TypedDict, total=False):
    """Keywords of `Certainty`."""

    resamples: int
    """Draws of the bootstrap over images behind the 95 % intervals; 0 for none (default: 100)."""


class EvaluateSettings(InferenceRequestKeys, CertaintyKeys, total=False):
    """Keywords of `evaluate`, those of `EvalRequest`."""

    evaluator: Literal["fast", "pycocotools", "both"]
    """What computes AP; both: compares the two, and fails on any difference (default: fast)."""

    workers: int | None
    """Share the images among N processes, a GPU each; on a CPU with one thread each unless
    --threads says otherwise, so N up to the number of cores pays (default: this process alone)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    resume: bool
    """Continue an unfinished run with the images that are missing."""

    require_reference: bool
    """Fail where there is no reference to compare with."""

    report: bool
    """Write report.html, the page of the run (default: on)."""


class EvaluateShareSettings(InferenceRequestKeys, CertaintyKeys, total=False):
    """Keywords of `evaluate_share`, those of `ShareRequest`."""

    evaluator: Literal["fast", "pycocotools", "both"]
    """What computes AP; both: compares the two, and fails on any difference (default: fast)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    require_reference: bool
    """Fail where there is no reference to compare with."""

    report: bool
    """Write report.html, the page of the run (default: on)."""


class TimingOptionsKeys(TypedDict, total=False):
    """Keywords of `TimingOptions`."""

    warmup: int
    """Images inferred before timing begins (default: 5)."""

    repeats: int
    """Least number of passes over the images (default: 3)."""

    min_duration_s: float
    """Repeat passes until this much time was measured (in seconds; default: 10)."""


class BenchmarkSettings(InferenceRequestKeys, TimingOptionsKeys, total=False):
    """Keywords of `benchmark`, those of `BenchRequest`."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    require_reference: bool
    """Fail where there is no reference to compare with."""

    profiling: bool
    """Afterwards, also report where the time goes."""


class SweepAxesKeys(TypedDict, total=False):
    """Keywords of `SweepAxes`."""

    precisions: Iterable[Literal["fp32", "tf32", "bf16", "fp16"]]
    """Precisions to try; those that the device lacks are skipped (of fp32, tf32, bf16, fp16;
    default: fp32,tf32,bf16,fp16)."""

    memory_formats: Iterable[Literal["channels_last", "contiguous"]]
    """Layouts of feature maps to try (of channels_last, contiguous; default:
    channels_last,contiguous)."""

    compiled: Iterable[bool]
    """Without torch.compile, with it, or both (default: no,yes)."""

    batch_sizes: Iterable[int] | None
    """Images computed at once (default: 1,4 on a CPU, 1,2,4,8,16 on a GPU)."""


class SweepSettings(ModelSpecKeys, DataSpecKeys, RecipeOverridesKeys, SweepAxesKeys, total=False):
    """Keywords of `sweep`, those of `SweepRequest`."""

    engine: Literal["native", "detectron2", "torchvision", "onnx", "pt2", "fake"] | None
    """Implementation of the network (default: the model's own)."""

    device: str
    """Where it computes: auto, cpu, cuda or cuda:N (default: auto)."""

    exact: bool
    """Compute in Detectron2's own arithmetic: the same bits, but slower."""

    graphs: bool
    """Run repeated shapes of images as CUDA graphs on a GPU (default: on)."""

    loaders: int | None
    """Threads that decode and resize ahead (default: 2, and for a GPU as many as there are cores,
    up to 16)."""

    threads: int | None
    """CPU threads of the network (default: all cores, or OMP_NUM_THREADS)."""

    ap_tolerance: float
    """AP that a recommended combination may cost (in points; default: 0.1)."""

    warmup: int
    """Images inferred before timing begins (default: 5)."""

    repeats: int
    """Least number of passes over the images (default: 3)."""

    min_duration_s: float
    """Repeat passes of a cell until this much time was measured (in seconds; default: 3)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    resume: bool
    """Continue an unfinished sweep with the cells that are missing."""


class ScoreSettings(ForeignOptionsKeys, CertaintyKeys, total=False):
    """Keywords of `score`, those of `ScoreRequest`."""

    predictions: str | Path | None
    """File of predictions, of COCO's form or another program's (default: the run's)."""

    annotations: str | Path | None
    """COCO annotation file (default: the run's)."""

    evaluator: Literal["fast", "pycocotools", "both"]
    """What computes AP; both: compares the two, and fails on any difference (default: fast)."""

    output: str | Path | None
    """Folder for a record of this scoring (default: no record)."""


class DiagnoseSettings(ForeignOptionsKeys, total=False):
    """Keywords of `diagnose`, those of `DiagnoseRequest`."""

    predictions: str | Path | None
    """File of predictions, of COCO's form or another program's (default: the run's)."""

    annotations: str | Path | None
    """COCO annotation file (default: the run's)."""

    reference: str | Path | None
    """Run folder or predictions of the same images to compare with (default: not compared)."""

    limit_s: float
    """Time limit; what was not reached is named (in seconds; default: 120)."""
