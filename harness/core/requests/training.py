"""What is learned, from what, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from harness.core.engine import Precision
from harness.core.requests.inference import EMBEDDED_MODEL

Optimiser = Literal["sgd", "adamw"]
OPTIMISERS: tuple[Optimiser, ...] = get_args(Optimiser)
Augment = Literal["flip", "strong"]
AUGMENTS: tuple[Augment, ...] = get_args(Augment)
BestBy = Literal["ap", "loss"]
BEST_BY: tuple[BestBy, ...] = get_args(BestBy)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """One training.

    model: a name of the lock; its recipe is the plan. dataset, or train_annotations with
    train_images: what is learned; the val pair, or the data set of the model's references: what is
    evaluated. schedule, iterations, batch_size (of all processes together), learning_rate: None
    follows from the recipe; weight_decay: None for the optimiser's own. augment: a flip, as the
    zoo, or much more. short_edge_px: of images at test time; in training 0.8 … 1.0 of it, and the
    longest edge in proportion. processes: on this machine, one device each. init: ``zoo`` (the
    pinned checkpoint), ``imagenet`` (the recipe's backbone), ``none`` or a file. freeze: first
    stages of the backbone that stay as they are; None for the recipe's, or 0 without weights to
    start from. accumulate: parts a batch is computed in. ema: decay of a moving average.
    eval_every: iterations between evaluations, 0 for one in the end. best_by: the number that says
    which was the best, mean AP or the losses on validation images. reference_curve:
    ``metrics.json`` of an earlier training of the recipe; leaving the band around it is told.
    deterministic: slower operations that repeat exactly.
    """

    model: str = EMBEDDED_MODEL
    engine: Literal["native", "detectron2"] = "native"
    dataset: str | None = None
    train_annotations: Path | None = None
    train_images: Path | None = None
    val_annotations: Path | None = None
    val_images: Path | None = None
    root: Path = Path("datasets")
    schedule: Literal["1x", "3x"] | None = None
    iterations: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimiser: Optimiser = "sgd"
    weight_decay: float | None = None
    augment: Augment = "flip"
    short_edge_px: int | None = None
    init: str = "imagenet"
    freeze: int | None = None
    rois_per_image: int | None = None
    seed: int = 0
    processes: int = 1
    device: str = "auto"
    precision: Precision = "fp32"
    accumulate: int = 1
    clip_gradients: float | None = None
    ema: float | None = None
    loaders: int = 2
    threads: int | None = None
    deterministic: bool = False
    eval_every: int = 0
    best_by: BestBy = "ap"
    reference_curve: Path | None = None
    output: Path | None = None
    resume: bool = False
    dry_run: bool = False
