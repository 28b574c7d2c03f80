"""The complete settings of a training, and the trainer that is built from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import torch
from torch import nn

from harness.core.architecture import Architecture
from harness.core.engine import Precision
from harness.core.requests.training import TrainRequest
from harness.data.objects import TrainingSet
from harness.data.trained_weights import Statement
from harness.engines.devices import emulation, notes_on
from harness.engines.native import own_memory_format
from harness.engines.slot_path import triton_operators
from harness.nn.operators import register_everything
from harness.nn.rcnn import RCNN, convolve_by_onednn
from harness.nn.slot_regions import MOST_A_LEVEL, RegionOperators
from harness.nn.targets import TrainingNumbers
from harness.nn.torchvision_training import (
    build_for_training,
    freeze_torchvision,
    train_mode,
    without_counters,
)
from harness.training.initial import (
    InitialWeights,
    initialise,
    load_backbone,
    load_matching,
    load_torchvision,
)
from harness.training.optimizer import MovingAverage, freeze
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.step import IMAGE_BY_IMAGE, Trainer
from harness.zoo.backbones import backbone_of
from harness.zoo.weights import read_checkpoint

InitKind = Literal["model", "backbone", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that defines a training; the same in each of its processes."""

    folder: Path
    """Of the run."""
    config: TrainRequest
    """Every setting of the training, with what the recipe decides filled in."""
    identity: dict[str, Any]
    """What must be equal in a run that continues."""
    architecture: Architecture
    """The network."""

    training: TrainingSet
    """Images that are trained on."""

    validation: TrainingSet
    """Images that are evaluated."""

    schedule: Schedule
    """Iterations and rates."""

    init_kind: InitKind
    """What the weights at the beginning come from."""

    init: Path | None
    """File of the weights at the beginning, by ``init_kind``; None for random ones."""
    test: TrainingSet | None = None
    """Images whose losses are a third curve; None without any."""

    begins_with_evaluation: bool = False
    """Whether the weights are evaluated before the first iteration as well."""

    reference: tuple[dict[str, Any], ...] = ()
    """Lines of an earlier training's curve."""
    checkpoint_signals: tuple[Signals, ...] = ()
    """Signals that ask for a checkpoint but not for a stop."""

    @property
    def statement(self) -> Statement:
        """What the files of weights say of the training."""
        learned = self.training.dataset
        return Statement(
            model=self.config.network.model,
            short_edge_px=self.architecture.short_edge_px,
            categories=learned.categories,
            stuff=() if learned.panoptic is None else learned.panoptic.stuff,
        )

    @property
    def numbers(self) -> TrainingNumbers:
        """Twice the candidates of the test, as in the zoo, and the proposals of the training."""
        rois = self.config.augmentation.rois_per_image
        assert rois is not None  # filled in from the recipe
        return TrainingNumbers(
            rpn_pre_nms_per_level=2 * self.architecture.rpn_pre_nms_per_level,
            rpn_post_nms=self.architecture.rpn_post_nms_training,
            rois_per_image=rois,
        )


def build_trainer(
    setup: Setup, device: torch.device, world: World
) -> tuple[Trainer, InitialWeights]:
    """Build the trainer at iteration 0.

    Args:
        setup: Setup of the training.
        device: Where the network is moved to.
        world: This process among all.

    Returns:
        The trainer, and where its weights come from.

    Raises:
        IntegrityError: The weights to begin with do not fit.
    """
    config, ema = setup.config, setup.config.optimizer.ema
    register_everything()
    torch.use_deterministic_algorithms(config.runtime.deterministic)
    network, initial = first_weights(setup)
    frozen, notes = config.initial.freeze or 0, notes_on(config.runtime.device)
    operators = None
    if isinstance(network, RCNN):
        place(network, device, config.runtime.precision, frozen)
        if (emulated := emulation(config.runtime.precision, device)) is not None:
            notes.append(f"{emulated}, and {IMAGE_BY_IMAGE}")
        else:
            operators = region_operators(setup.architecture, setup.numbers, device, notes)
    else:
        freeze_torchvision(train_mode(network.to(device)), frozen)
    trainer = Trainer(
        network=network,
        config=config,
        schedule=setup.schedule,
        numbers=setup.numbers,
        device=device,
        world=world,
        average=None if ema is None else MovingAverage(network, ema),
        statement=setup.statement.text,
        operators=operators,
        notes=notes,
    )
    return trainer, initial


def first_weights(setup: Setup) -> tuple[nn.Module, InitialWeights]:
    """Build the network as training begins with it.

    Args:
        setup: Setup of the training.

    Returns:
        The network on the CPU, and where its weights come from.

    Raises:
        IntegrityError: The weights to begin with do not fit.
    """
    if setup.architecture.torchvision is not None:
        return _first_of_torchvision(setup)
    return first_native_weights(setup)


def _first_of_torchvision(setup: Setup) -> tuple[nn.Module, InitialWeights]:
    """Build a network of torchvision; class layers of other classes begin at random."""
    rois, seed = setup.numbers.rois_per_image, setup.config.schedule.seed
    network = build_for_training(setup.architecture, rois, seed)
    if setup.init is None:
        return network, InitialWeights(kept=(), fresh=tuple(without_counters(network.state_dict())))
    tensors = read_checkpoint(setup.init)
    return network, load_torchvision(network, setup.architecture, tensors, where=str(setup.init))


def first_native_weights(setup: Setup) -> tuple[RCNN, InitialWeights]:
    """Build a network of this package as training begins with it.

    Args:
        setup: Setup of the training.

    Returns:
        The network on the CPU, and where its weights come from.

    Raises:
        IntegrityError: The weights to begin with do not fit.
    """
    network = RCNN(setup.architecture)
    initialise(network, setup.config.schedule.seed)
    if setup.init is None:
        return network, InitialWeights(kept=(), fresh=tuple(network.state_dict()))
    tensors = read_checkpoint(setup.init)
    if setup.init_kind == "backbone":
        backbone = backbone_of(tensors, setup.architecture)
        return network, load_backbone(network, backbone, where=str(setup.init))
    return network, load_matching(network, tensors, where=str(setup.init))


def place(network: RCNN, device: torch.device, precision: Precision, frozen: int) -> None:
    """Move a network to where it is trained, in the layout that is fastest there.

    Args:
        network: It is changed.
        device: Where it is trained.
        precision: What forward passes compute in.
        frozen: Stages of the backbone that are not trained (``freeze``).
    """
    network.to(device)
    network.train()
    if own_memory_format(device, precision) == "channels_last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs
    if device.type == "cpu":
        convolve_by_onednn(network)
    freeze(network, frozen)


def region_operators(
    architecture: Architecture, numbers: TrainingNumbers, device: torch.device, notes: list[str]
) -> RegionOperators | None:
    """Return what selects the proposals of all images at once, without waiting for the device.

    Args:
        architecture: Of what is trained.
        numbers: Limits and budgets.
        device: Where it is trained.
        notes: Receives a sentence where Triton is missing or does not work.

    Returns:
        None on a CPU, and for a network that proposes no regions on a pyramid, or more candidates
        a level than the kernel takes: proposals are then selected image by image.
    """
    if (
        device.type != "cuda"
        or architecture.detector != "rcnn"
        or architecture.neck != "fpn"
        or architecture.given_proposals
        or numbers.rpn_pre_nms_per_level > MOST_A_LEVEL
    ):
        return None
    return triton_operators(device, notes, instead=IMAGE_BY_IMAGE)
