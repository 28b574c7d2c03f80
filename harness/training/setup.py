"""What a training is, with every question answered; and the trainer that carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import torch

from harness.core.architecture import Architecture
from harness.core.requests.training import TrainRequest
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
    """The same in every process of a training."""

    folder: Path
    """Of the run."""
    config: TrainRequest
    """Every setting of the training, with what the recipe decides filled in."""
    identity: dict[str, Any]
    """What a run that continues must share."""
    architecture: Architecture
    training: TrainingSet
    validation: TrainingSet
    schedule: Schedule
    init_kind: InitKind
    init: Path | None
    """File of the weights to begin with: a whole model's or a backbone's, by ``init_kind``."""
    reference: tuple[dict[str, Any], ...] = ()
    """Lines of an earlier training's curve."""
    warnings: tuple[Signals, ...] = ()
    """Signals that ask for a checkpoint but not for a stop."""

    @property
    def numbers(self) -> TrainingNumbers:
        """Twice the candidates of the test, and as many proposals: the zoo's 2000 and 1000."""
        rois = self.config.augmentation.rois_per_image
        assert rois is not None  # filled in from the recipe
        return TrainingNumbers(
            rpn_pre_nms_per_level=2 * self.architecture.rpn_pre_nms_per_level,
            rpn_post_nms=self.architecture.rpn_post_nms,
            rois_per_image=rois,
        )


def build_trainer(
    setup: Setup, device: torch.device, world: World
) -> tuple[Trainer, InitialWeights]:
    """The trainer at iteration 0, its network on ``device``, and where its weights come from."""
    config, ema = setup.config, setup.config.optimizer.ema
    torch.use_deterministic_algorithms(config.runtime.deterministic)
    network, initial = first_weights(setup)
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    if device.type == "cpu":
        convolve_by_onednn(network)
    freeze(network, config.initial.freeze or 0)
    trainer = Trainer(
        network=network,
        config=config,
        schedule=setup.schedule,
        numbers=setup.numbers,
        device=device,
        world=world,
        average=None if ema is None else MovingAverage(network, ema),
    )
    return trainer, initial


def first_weights(setup: Setup) -> tuple[RCNN, InitialWeights]:
    """The network as training begins with it, on the CPU, and where its weights come from."""
    network = RCNN(setup.architecture)
    initialise(network, setup.config.schedule.seed)
    if setup.init is None:
        return network, InitialWeights(kept=(), fresh=tuple(network.state_dict()))
    tensors = read_checkpoint(setup.init)
    if setup.init_kind == "backbone":
        backbone = backbone_of(tensors, setup.architecture)
        return network, load_backbone(network, backbone, where=str(setup.init))
    return network, load_matching(network, tensors, where=str(setup.init))
