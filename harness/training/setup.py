"""What a training is, with every question answered; and the trainer that carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import torch

from harness.core.architecture import Architecture
from harness.core.engine import Precision
from harness.core.requests.training import Augment, BestBy, Optimiser
from harness.data.objects import TrainingSet
from harness.nn.rcnn import RCNN, convolve_by_onednn
from harness.nn.targets import TrainingNumbers
from harness.training.initial import InitialWeights, initialise, load_backbone, load_matching
from harness.training.optimizer import MovingAverage, freeze
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.step import Trainer
from harness.zoo.backbones import backbone_of
from harness.zoo.weights import read_checkpoint

InitKind = Literal["model", "backbone", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The same in every process of a training.

    folder: of the run. identity: what a run that continues must share. init: file of the weights
    to begin with, by init_kind a whole model's or a backbone's. freeze: stages of the backbone.
    reference: lines of an earlier training's curve. warnings: signals that ask for a checkpoint but
    not for a stop.
    """

    folder: Path
    identity: dict[str, Any]
    architecture: Architecture
    training: TrainingSet
    validation: TrainingSet
    schedule: Schedule
    init_kind: InitKind
    init: Path | None
    freeze: int
    rois_per_image: int
    seed: int
    device: str
    precision: Precision
    accumulate: int
    optimiser: Optimiser
    weight_decay: float
    augment: Augment
    best_by: BestBy
    clip_gradients: float | None
    ema: float | None
    loaders: int
    threads: int | None
    deterministic: bool
    eval_every: int
    resume: bool
    reference: tuple[dict[str, Any], ...] = ()
    warnings: tuple[Signals, ...] = ()


def build_trainer(
    setup: Setup, device: torch.device, world: World
) -> tuple[Trainer, InitialWeights]:
    """The trainer at iteration 0, its network on ``device``, and where its weights come from."""
    torch.use_deterministic_algorithms(setup.deterministic)
    network, initial = first_weights(setup)
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    if device.type == "cpu":
        convolve_by_onednn(network)
    freeze(network, setup.freeze)
    trainer = Trainer(
        network=network,
        schedule=setup.schedule,
        numbers=_numbers(setup),
        precision=setup.precision,
        device=device,
        world=world,
        seed=setup.seed,
        accumulate=setup.accumulate,
        gradient_limit=setup.clip_gradients,
        kind=setup.optimiser,
        weight_decay=setup.weight_decay,
        average=None if setup.ema is None else MovingAverage(network, setup.ema),
    )
    return trainer, initial


def _numbers(setup: Setup) -> TrainingNumbers:
    """Twice the candidates of the test, and as many proposals: the zoo's 2000 and 1000."""
    return TrainingNumbers(
        rpn_pre_nms_per_level=2 * setup.architecture.rpn_pre_nms_per_level,
        rpn_post_nms=setup.architecture.rpn_post_nms,
        rois_per_image=setup.rois_per_image,
    )


def first_weights(setup: Setup) -> tuple[RCNN, InitialWeights]:
    """The network as training begins with it, on the CPU, and where its weights come from."""
    network = RCNN(setup.architecture)
    initialise(network, setup.seed)
    if setup.init is None:
        return network, InitialWeights(kept=(), fresh=tuple(network.state_dict()))
    tensors = read_checkpoint(setup.init)
    if setup.init_kind == "backbone":
        backbone = backbone_of(tensors, setup.architecture)
        return network, load_backbone(network, backbone, where=str(setup.init))
    return network, load_matching(network, tensors, where=str(setup.init))
