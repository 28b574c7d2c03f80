"""What is learned, from what, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.architecture import LONGEST_EDGE_PX
from harness.core.engine import MOST_PROCESSES, MOST_THREADS, Precision
from harness.core.requests.inference import NEW_RUN, ModelSpec
from harness.core.settings import part, setting

Optimiser = Literal["sgd", "adamw"]
Augment = Literal["flip", "strong"]
BestBy = Literal["ap", "loss"]
TrainingEngine = Literal["native", "detectron2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What is learned, and what is evaluated.

    None of these is part of the identity of a training: the digest of the data is.
    """

    group: ClassVar[str] = "what to train on what"

    dataset: str | None = setting(
        None,
        help="data set by name, such as coco_2017_val",
        none="the one of the model's recipe",
        numbers=False,
    )
    train_annotations: Path | None = setting(
        None, help="COCO annotation file of your own to learn", none="the data set's", numbers=False
    )
    train_images: Path | None = setting(
        None,
        help="folder of the images that the annotation file lists",
        none="the data set's",
        numbers=False,
    )
    train_panoptic: Path | None = setting(
        None,
        help="panoptic annotation file of the same images",
        none="the data set's",
        numbers=False,
    )
    train_panoptic_masks: Path | None = setting(
        None,
        help="folder of the PNGs that the panoptic annotation file lists",
        none="beside that file, with its name",
        numbers=False,
    )
    train_proposals: Path | None = setting(
        None,
        help="region proposals of these images, for a network that takes them from a file "
        "(Fast R-CNN): Detectron2's pickle, COCO results, or a run of an RPN",
        none="none",
        numbers=False,
    )
    val_annotations: Path | None = setting(
        None, help="COCO annotation file to evaluate on", none="the data set's", numbers=False
    )
    val_images: Path | None = setting(
        None,
        help="folder of the images that the annotation file lists",
        none="the data set's",
        numbers=False,
    )
    val_panoptic: Path | None = setting(
        None,
        help="panoptic annotation file of the same images",
        none="the data set's",
        numbers=False,
    )
    val_panoptic_masks: Path | None = setting(
        None,
        help="folder of the PNGs that the panoptic annotation file lists",
        none="beside that file, with its name",
        numbers=False,
    )
    val_proposals: Path | None = setting(
        None,
        help="those of the validation images",
        none="of COCO's images those the model was published with",
        numbers=False,
    )
    test_annotations: Path | None = setting(
        None,
        help="COCO annotation file that decides nothing: its losses are a third curve, and the "
        "best weights are evaluated on it in the end",
        none="none",
        numbers=False,
    )
    test_images: Path | None = setting(
        None, help="folder of the images that the annotation file lists", none="none", numbers=False
    )
    test_panoptic: Path | None = setting(
        None, help="panoptic annotation file of the same images", none="none", numbers=False
    )
    test_panoptic_masks: Path | None = setting(
        None,
        help="folder of the PNGs that the panoptic annotation file lists",
        none="beside that file, with its name",
        numbers=False,
    )
    test_proposals: Path | None = setting(
        None,
        help="those of the test images",
        none="none",
        numbers=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialConfig:
    """What training begins with."""

    group: ClassVar[str] = "what to train on what"

    init: str = setting(
        "imagenet",
        help="weights to begin with: the model's checkpoint, its recipe's backbone, random, a file",
        metavar="zoo|imagenet|none|FILE",
        numbers=False,
        files=True,
        proven=True,
    )
    """Not part of the identity: the digest of the file is."""
    freeze: int | None = setting(
        None,
        help="first stages of the backbone that stay fixed: stem, res2 … res5",
        none="the recipe's, 0 without weights to begin with",
        metavar="N",
        minimum=0,
        maximum=5,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """How long is trained, at which rate; what is not given follows from the recipe."""

    group: ClassVar[str] = "schedule (what is not given follows from the recipe)"

    schedule: Literal["1x", "3x"] | None = setting(
        None, help="another of the zoo's schedules", none="the recipe's", numbers=False
    )
    """Not part of the identity: the iterations it stands for are."""
    iterations: int | None = setting(
        None, help="optimiser steps", none="as many images as the recipe", metavar="N", above=0
    )
    epochs: float | None = setting(
        None,
        help="passes over the training images, instead of --iterations",
        none="as --iterations says",
        metavar="N",
        above=0,
        numbers=False,
    )
    """Not part of the identity: the iterations it stands for are."""
    batch_size: int | None = setting(
        None, help="images an iteration, all processes together", none="the recipe's", above=0
    )
    learning_rate: float | None = setting(
        None,
        help="learning rate after the warm-up",
        none="the recipe's, in proportion to the batch",
        flag="--lr",
        metavar="RATE",
        above=0,
    )
    seed: int = setting(
        0, help="seed of the order, augmentation, sampling and random weights", minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """What makes weights out of gradients."""

    group: ClassVar[str] = "optimiser"

    optimiser: Optimiser = setting("sgd", help="rule of a step; the published one is sgd")
    weight_decay: float | None = setting(
        None,
        help="weight decay of each step",
        none="1e-4 for sgd, 0.05 for adamw",
        metavar="RATE",
        minimum=0,
        below=1,
    )
    clip_gradients: float | None = setting(
        None,
        help="largest norm of all gradients together",
        none="not clipped",
        metavar="NORM",
        above=0,
    )
    ema: float | None = setting(
        None,
        help="decay of a moving average of the weights, which is then what is evaluated",
        none="no average",
        metavar="DECAY",
        above=0,
        below=1,
    )
    accumulate: int = setting(1, help="compute a batch in N parts", metavar="N", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """What a network is shown of an image."""

    group: ClassVar[str] = "images and regions"

    augment: Augment = setting(
        "flip",
        help="strong: both flips, brightness, contrast, and two of JPEG, gamma, blur, equalise",
    )
    short_edge_px: int | None = setting(
        None,
        help="shorter edge of images at test time; in training 0.8 … 1.0 of it",
        none="the model's own",
        unit="px",
        metavar="PX",
        minimum=32,
        maximum=LONGEST_EDGE_PX,
    )
    """The longest edge changes in proportion."""
    rois_per_image: int | None = setting(
        None, help="regions for the box head", none="the recipe's", metavar="N", minimum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """What computes a training."""

    group: ClassVar[str] = "how to run it"

    engine: TrainingEngine = setting(
        "native", help="what trains: this package, or Detectron2 itself"
    )
    processes: int = setting(
        1,
        help="processes on this machine, one device each",
        flag="--gpus",
        aliases=("--nproc",),
        metavar="N",
        minimum=1,
        maximum=MOST_PROCESSES,
        numbers=False,
    )
    device: str = setting(
        "auto", help="where it computes: auto, cpu, cuda or cuda:N", numbers=False
    )
    precision: Precision = setting("fp32", help="arithmetic of the network")
    loaders: int = setting(
        2,
        help="threads that decode and resize ahead",
        minimum=1,
        maximum=MOST_THREADS,
        numbers=False,
    )
    threads: int | None = setting(
        None,
        help="CPU threads of a process",
        none="its share of the cores, or OMP_NUM_THREADS",
        minimum=1,
        maximum=MOST_THREADS,
        numbers=False,
    )
    deterministic: bool = setting(
        False, help="use slower operations that repeat exactly", numbers=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """One training. A model's recipe is the plan; settings replace parts of it."""

    group: ClassVar[str] = "the run"

    network: ModelSpec = part(
        ModelSpec,
        without=("weights",),
        group="what to train on what",
        changed={"root": {"numbers": False}},
    )
    data: TrainingData = part(TrainingData)
    initial: InitialConfig = part(InitialConfig)
    schedule: ScheduleConfig = part(ScheduleConfig)
    optimizer: OptimizerConfig = part(OptimizerConfig)
    augmentation: AugmentConfig = part(AugmentConfig)
    runtime: RuntimeConfig = part(RuntimeConfig)
    eval_every: int | None = setting(
        None,
        help="iterations between evaluations; 0: once, in the end",
        none="ten evaluations in all, at least 20 iterations apart",
        metavar="N",
        minimum=0,
        numbers=False,
    )
    checkpoint_every: int | None = setting(
        None,
        help="iterations between checkpoints",
        none="every 10 minutes, at least 100 iterations apart",
        metavar="N",
        minimum=1,
        numbers=False,
    )
    """One is also written with new best weights, on a signal, and at the end."""
    best_by: BestBy = setting(
        "ap", help="how the best weights are chosen: highest mean AP, or lowest validation loss"
    )
    reference_curve: Path | None = setting(
        None,
        help="metrics.json of the zoo or of an earlier training: warn when losses or AP leave it",
        none="none",
        metavar="FILE",
        numbers=False,
    )
    pictures: bool = setting(
        True,
        help="draw six validation images before the first iteration and at every evaluation",
        kept=False,
        numbers=False,
    )
    output: Path | None = setting(None, help="run folder", none=NEW_RUN, kept=False, numbers=False)
    resume: bool = setting(False, help="continue an unfinished run", kept=False, numbers=False)
    dry_run: bool = setting(
        False, help="show the plan, measure one iteration", kept=False, numbers=False
    )
