"""Keywords of the Python API: settings of ``training``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict


class TrainingDataKeys(TypedDict, total=False):
    """Keywords of `TrainingData`."""

    dataset: str | None
    """Data set by name, such as coco_2017_val (default: the one of the model's recipe)."""

    train_annotations: str | Path | None
    """COCO annotation file of your own to learn (default: the data set's)."""

    train_images: str | Path | None
    """Folder of the images that the annotation file lists (default: the data set's)."""

    train_panoptic: str | Path | None
    """Panoptic annotation file of the same images (default: the data set's)."""

    train_panoptic_masks: str | Path | None
    """Folder of the PNGs that the panoptic annotation file lists (default: beside that file, with
    its name)."""

    train_proposals: str | Path | None
    """Region proposals of these images, for a network that takes them from a file (Fast R-CNN):
    Detectron2's pickle, COCO results, or a run of an RPN (default: none)."""

    val_annotations: str | Path | None
    """COCO annotation file to evaluate on (default: the data set's)."""

    val_images: str | Path | None
    """Folder of the images that the annotation file lists (default: the data set's)."""

    val_panoptic: str | Path | None
    """Panoptic annotation file of the same images (default: the data set's)."""

    val_panoptic_masks: str | Path | None
    """Folder of the PNGs that the panoptic annotation file lists (default: beside that file, with
    its name)."""

    val_proposals: str | Path | None
    """Those of the validation images (default: of COCO's images those the model was published
    with)."""

    test_annotations: str | Path | None
    """COCO annotation file that decides nothing: its losses are a third curve, and the best weights
    are evaluated on it in the end (default: none)."""

    test_images: str | Path | None
    """Folder of the images that the annotation file lists (default: none)."""

    test_panoptic: str | Path | None
    """Panoptic annotation file of the same images (default: none)."""

    test_panoptic_masks: str | Path | None
    """Folder of the PNGs that the panoptic annotation file lists (default: beside that file, with
    its name)."""

    test_proposals: str | Path | None
    """Those of the test images (default: none)."""


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
    """Another of the zoo's schedules (default: the recipe's)."""

    iterations: int | None
    """Optimiser steps (default: as many images as the recipe)."""

    epochs: float | None
    """Passes over the training images, instead of --iterations (default: as --iterations says)."""

    batch_size: int | None
    """Images an iteration, all processes together (default: the recipe's)."""

    learning_rate: float | None
    """Learning rate after the warm-up (default: the recipe's, in proportion to the batch)."""

    seed: int
    """Seed of the order, augmentation, sampling and random weights (default: 0)."""


class OptimizerConfigKeys(TypedDict, total=False):
    """Keywords of `OptimizerConfig`."""

    optimiser: Literal["sgd", "adamw"]
    """Rule of a step; the published one is sgd (default: sgd)."""

    weight_decay: float | None
    """Weight decay of each step (default: 1e-4 for sgd, 0.05 for adamw)."""

    clip_gradients: float | None
    """Largest norm of all gradients together (default: not clipped)."""

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
    """Where it computes: auto, cpu, cuda or cuda:N (default: auto)."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    """Arithmetic of the network (default: fp32)."""

    loaders: int
    """Threads that decode and resize ahead (default: 2)."""

    threads: int | None
    """CPU threads of a process (default: its share of the cores, or OMP_NUM_THREADS)."""

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

    eval_every: int | None
    """Iterations between evaluations; 0: once, in the end (default: ten evaluations in all, at
    least 20 iterations apart)."""

    checkpoint_every: int | None
    """Iterations between checkpoints (default: every 10 minutes, at least 100 iterations apart)."""

    best_by: Literal["ap", "loss"]
    """How the best weights are chosen: highest mean AP, or lowest validation loss (default: ap)."""

    reference_curve: str | Path | None
    """Metrics.json of the zoo or of an earlier training: warn when losses or AP leave it (default:
    none)."""

    pictures: bool
    """Draw six validation images before the first iteration and at every evaluation (default:
    on)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    resume: bool
    """Continue an unfinished run."""
