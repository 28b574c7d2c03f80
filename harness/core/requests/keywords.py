"""Keywords of the Python API for type checkers and editors.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict

from typing_extensions import Required


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
    """Known data set (default: the one of the model's numbers)."""

    annotations: str | Path | None
    """COCO annotation file of your own (default: the data set's)."""

    images: str | Path | None
    """Folder of its images (default: the data set's)."""

    limit: int | None
    """Only the first N images (not comparable) (default: all)."""

    verify_images: bool
    """Tell images that were replaced by their contents, not by size and time."""


class EngineOptionsKeys(TypedDict, total=False):
    """Keywords of `EngineOptions`."""

    engine: Literal["native", "detectron2", "torchvision", "onnx", "fake"] | None
    """Implementation of the network (default: the model's own)."""

    device: str
    """Auto, cpu, cuda or cuda:N (default: auto)."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    """Arithmetic of the network; verdicts need fp32 (default: fp32)."""

    memory_format: Literal["channels_last", "contiguous"] | None
    """Layout of feature maps in memory (default: the engine's own)."""

    compile: bool
    """Compile with torch.compile, at the first image."""

    exact: bool
    """Compute in Detectron2's own arithmetic: each result has its bits, more slowly."""

    graphs: bool
    """Launch what a GPU has computed before as one CUDA graph (default: on)."""

    batch_size: int
    """Images the network computes at once (default: 1)."""

    loaders: int | None
    """Threads that decode and resize ahead (default: 2, and for a GPU as many as there are cores,
    up to 16)."""

    threads: int | None
    """CPU threads of the network (default: all cores)."""


class RecipeOverridesKeys(TypedDict, total=False):
    """Keywords of `RecipeOverrides`."""

    score_threshold: float | None
    """Lowest score of a detection, 0 to 1 (default: the model's own)."""

    max_detections: int | None
    """Detections kept for an image (default: the model's own)."""

    short_edge_px: int | None
    """Length the shorter edge of an image is resized to (in px; default: the model's own)."""

    long_edge_max_px: int | None
    """Greatest length of the longer edge after resizing (in px; default: the model's own)."""

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


class EvaluateSettings(InferenceRequestKeys, total=False):
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
    """Nothing to compare counts as failure."""


class TimingOptionsKeys(TypedDict, total=False):
    """Keywords of `TimingOptions`."""

    warmup: int
    """Images before the clock counts (default: 5)."""

    repeats: int
    """Passes over the images, at least (default: 3)."""

    min_duration_s: float
    """Passes go on until this much time was measured (in seconds; default: 10)."""


class BenchmarkSettings(InferenceRequestKeys, TimingOptionsKeys, total=False):
    """Keywords of `benchmark`, those of `BenchRequest`."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    require_reference: bool
    """Nothing to compare counts as failure."""

    profiling: bool
    """Afterwards, also report where the time goes."""


class SweepAxesKeys(TypedDict, total=False):
    """Keywords of `SweepAxes`."""

    precisions: Iterable[Literal["fp32", "tf32", "bf16", "fp16"]]
    """Arithmetics to try; what the device cannot do is skipped (of fp32, tf32, bf16, fp16; default:
    fp32,tf32,bf16,fp16)."""

    memory_formats: Iterable[Literal["channels_last", "contiguous"]]
    """Layouts of feature maps to try (of channels_last, contiguous; default:
    channels_last,contiguous)."""

    compiled: Iterable[bool]
    """Without torch.compile, with it, or both (default: no,yes)."""

    batch_sizes: Iterable[int] | None
    """Images computed at once (default: 1,4 on a CPU, 1,2,4,8,16 on a GPU)."""


class SweepSettings(
    ModelSpecKeys,
    DataSpecKeys,
    RecipeOverridesKeys,
    SweepAxesKeys,
    TimingOptionsKeys,
    total=False,
):
    """Keywords of `sweep`, those of `SweepRequest`."""

    engine: Literal["native", "detectron2", "torchvision", "onnx", "fake"] | None
    """Implementation of the network (default: the model's own)."""

    device: str
    """Auto, cpu, cuda or cuda:N (default: auto)."""

    exact: bool
    """Compute in Detectron2's own arithmetic: each result has its bits, more slowly."""

    graphs: bool
    """Launch what a GPU has computed before as one CUDA graph (default: on)."""

    loaders: int | None
    """Threads that decode and resize ahead (default: 2, and for a GPU as many as there are cores,
    up to 16)."""

    threads: int | None
    """CPU threads of the network (default: all cores)."""

    ap_tolerance: float
    """AP that a recommended combination may cost (in points; default: 0.1)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    resume: bool
    """Continue an unfinished sweep with the cells that are missing."""


class ScoreSettings(TypedDict, total=False):
    """Keywords of `score`, those of `ScoreRequest`."""

    predictions: str | Path | None
    """COCO results file (default: the run's)."""

    annotations: str | Path | None
    """COCO annotation file (default: the run's)."""

    evaluator: Literal["fast", "pycocotools", "both"]
    """What computes AP; both: compares the two, and fails on any difference (default: fast)."""

    output: str | Path | None
    """Folder for a record of this scoring (default: no record)."""


class TrainingDataKeys(TypedDict, total=False):
    """Keywords of `TrainingData`."""

    dataset: str | None
    """Known data set (default: the one of the model's recipe)."""

    train_annotations: str | Path | None
    """COCO annotation file of your own to learn (default: the data set's)."""

    train_images: str | Path | None
    """Folder of its images (default: the data set's)."""

    val_annotations: str | Path | None
    """COCO annotation file to evaluate on (default: the data set's)."""

    val_images: str | Path | None
    """Folder of its images (default: the data set's)."""


class InitialConfigKeys(TypedDict, total=False):
    """Keywords of `InitialConfig`."""

    init: str
    """Weights to begin with: the model's checkpoint, its recipe's backbone, random, a file
    (default: imagenet)."""

    freeze: int | None
    """First stages of the backbone that stay fixed: stem, res2 … res5 (default: the recipe's, 0
    without weights to begin with)."""


class ScheduleConfigKeys(TypedDict, total=False):
    """Keywords of `ScheduleConfig`."""

    schedule: Literal["1x", "3x"] | None
    """Another length of the zoo's (default: the recipe's)."""

    iterations: int | None
    """Optimiser steps (default: as many images as the recipe)."""

    batch_size: int | None
    """Images an iteration, all processes together (default: the recipe's)."""

    learning_rate: float | None
    """After the warm-up (default: the recipe's, in proportion to the batch)."""

    seed: int
    """Of order, augmentation, sampling and random weights (default: 0)."""


class OptimizerConfigKeys(TypedDict, total=False):
    """Keywords of `OptimizerConfig`."""

    optimiser: Literal["sgd", "adamw"]
    """Rule of a step; the published one is sgd (default: sgd)."""

    weight_decay: float | None
    """Decay of the weights a step (default: 1e-4 for sgd, 0.05 for adamw)."""

    clip_gradients: float | None
    """Greatest norm of all gradients together (default: not clipped)."""

    ema: float | None
    """Decay of a moving average of the weights, which is then what is evaluated (default: no
    average)."""

    accumulate: int
    """Compute a batch in N parts (default: 1)."""


class AugmentConfigKeys(TypedDict, total=False):
    """Keywords of `AugmentConfig`."""

    augment: Literal["flip", "strong"]
    """Strong: both flips, brightness, contrast, and two of JPEG, gamma, blur, equalise (default:
    flip)."""

    short_edge_px: int | None
    """Shorter edge of images at test time; in training 0.8 … 1.0 of it (in px; default: the model's
    own)."""

    rois_per_image: int | None
    """Regions for the box head (default: the recipe's)."""


class RuntimeConfigKeys(TypedDict, total=False):
    """Keywords of `RuntimeConfig`."""

    engine: Literal["native", "detectron2"]
    """What trains: this package, or Detectron2 itself (default: native)."""

    processes: int
    """Processes on this machine, one device each (default: 1)."""

    device: str
    """Auto, cpu, cuda or cuda:N (default: auto)."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    """Arithmetic of the network (default: fp32)."""

    loaders: int
    """Threads that decode and resize ahead (default: 2)."""

    threads: int | None
    """CPU threads of a process (default: its share of the cores)."""

    deterministic: bool
    """Use slower operations that repeat exactly."""


class TrainSettings(
    TrainingDataKeys,
    InitialConfigKeys,
    ScheduleConfigKeys,
    OptimizerConfigKeys,
    AugmentConfigKeys,
    RuntimeConfigKeys,
    total=False,
):
    """Keywords of `train`, those of `TrainRequest`."""

    model: str
    """Model entry; see: harness models (default: tiny)."""

    root: str | Path
    """Folder of data sets and checkpoints (default: datasets)."""

    eval_every: int
    """Iterations between evaluations; 0: once, in the end (default: 0)."""

    best_by: Literal["ap", "loss"]
    """What the best weights have most of (mean AP), or least of (validation loss) (default: ap)."""

    reference_curve: str | Path | None
    """Metrics.json of the zoo or of an earlier training: warn when losses or AP leave it (default:
    none)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    resume: bool
    """Continue an unfinished run."""


class CompareSettings(TypedDict, total=False):
    """Keywords of `compare`, those of `CompareRequest`."""

    resamples: int
    """Draws of the paired bootstrap; 0 for none (default: 200)."""

    html: str | Path | None
    """Also write a page with pictures (default: no page)."""


class ConvertSettings(TypedDict, total=False):
    """Keywords of `convert`, those of `ConvertRequest`."""

    output: Required[str | Path]
    """COCO file to write."""

    source_format: Literal["labelme", "labelstudio", "openimages", "voc", "yolo", "coco"] | None
    """What the annotations are (default: detected from the files)."""

    images: str | Path | None
    """Folder of the images (default: beside the annotations)."""

    categories: Iterable[str]
    """Only these, with ids in this order (default: all, by name)."""

    boxes_as_masks: bool
    """A box stands for the pixels it encloses."""

    annotator: str | None
    """Whose annotations of Label Studio are taken (default: the only one's)."""

    part: str | None
    """Part of a YOLO or VOC data set: train, val, … (default: all)."""

    encoding: str | None
    """Of text files that do not say theirs: gbk, big5, shift_jis, … (default: UTF-8 or UTF-16)."""


class DownloadSettings(TypedDict, total=False):
    """Keywords of `download`, those of `DownloadRequest`."""

    only: Iterable[
        Literal["annotations", "val", "val100", "train", "checkpoints", "torchvision", "backbones"]
    ]
    """Some of annotations,val,val100,train,checkpoints,torchvision,backbones; the default is what
    evaluation needs (of annotations, val, val100, train, checkpoints, torchvision, backbones;
    default: annotations,val,checkpoints)."""

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
    """Say what would be done, do nothing."""


class LoadModelSettings(EngineOptionsKeys, total=False):
    """Keywords of `load_model`, those of `LoadRequest`."""

    model: str | None
    """Model entry of a checkpoint (default: that of the run that left it)."""

    annotations: str | Path | None
    """COCO annotation file whose categories a checkpoint knows (default: the model's own)."""

    root: str | Path
    """Folder of checkpoints (default: datasets)."""

    threshold: float
    """Lowest score of a detection, 0 to 1 (default: 0.5)."""


class LoadDatasetSettings(TypedDict, total=False):
    """Keywords of `load_dataset`, those of `DatasetRequest`."""

    annotations: str | Path | None
    """COCO annotation file of your own (default: the data set's)."""

    images: str | Path | None
    """Folder of its images (default: the data set's)."""

    limit: int | None
    """Only the first N images (not comparable) (default: all)."""

    verify_images: bool
    """Tell images that were replaced by their contents, not by size and time."""

    root: str | Path
    """Folder of data sets (default: datasets)."""


class DrawSettings(TypedDict, total=False):
    """Keywords of `draw`, those of `DrawRequest`."""

    background: Literal["colour", "grey"]
    """Grey: all that is no object (default: colour)."""

    colour_by: Literal["instance", "class"]
    """What has a colour of its own (default: instance)."""

    opacity: float
    """Of masks, 0 to 1 (default: 0.5)."""

    boxes: bool
    """Draw boxes (default: on)."""

    labels: bool
    """Write category and score (default: on)."""

    scale: float
    """Size of the picture against the image (default: 1)."""
