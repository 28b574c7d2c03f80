"""One iteration: samples → losses → gradients → weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from harness.core.errors import RunFailedError
from harness.core.requests.training import TrainRequest
from harness.engines.slot_path import is_of_triton, without_triton
from harness.nn.dense import mean_positives_of, remember_mean_positives
from harness.nn.losses import losses
from harness.nn.normed import BatchNorm
from harness.nn.rcnn import RCNN, Batch
from harness.nn.slot_regions import RegionOperators, SlotProposals
from harness.nn.targets import Losses, Targets, TrainingNumbers
from harness.nn.torchvision_training import Pixels, TorchvisionLosses, scaled
from harness.training.optimizer import MovingAverage, computing_in, make_optimiser, set_rate
from harness.training.order import SAMPLE, generator
from harness.training.plan import Schedule, weight_decay_of
from harness.training.processes import World
from harness.training.samples import Sample

#: What is done where no kernels select the proposals.
IMAGE_BY_IMAGE = "proposals are selected image by image"


class LossModel(nn.Module):
    """The network as a function from a batch to its losses: what DistributedDataParallel wraps."""

    def __init__(
        self,
        network: RCNN,
        numbers: TrainingNumbers,
        world: World,
        operators: RegionOperators | None = None,
        *,
        notes: list[str] | None = None,
    ) -> None:
        """Wrap a network.

        Args:
            network: What is trained.
            numbers: How many regions are sampled.
            world: Averages counts of samples over all processes.
            operators: Select the proposals of all images at once; None for one after the other.
            notes: Receives a sentence where those cannot be compiled.
        """
        super().__init__()
        self.network = network
        self.numbers = numbers
        self.world = world
        self._notes = [] if notes is None else notes
        self._in_slots = (
            None if operators is None else SlotProposals(network.proposal_generator, operators)
        )

    def forward(self, batch: Batch, targets: Sequence[Targets]) -> Losses:
        """Return losses and statistics; see ``harness.nn.losses``."""
        mean_count = self.world.mean_count
        if self._in_slots is None:
            return losses(self.network, batch, targets, self.numbers, mean_count)
        drawn = [one.generator.get_state() for one in targets]
        try:
            return losses(self.network, batch, targets, self.numbers, mean_count, self._in_slots)
        except Exception as error:
            if not is_of_triton(error):
                raise
            said = without_triton(error, instead=IMAGE_BY_IMAGE)
            self._notes += [said] if said not in self._notes else []
        self._in_slots = None
        for one, state in zip(targets, drawn, strict=True):
            one.generator.set_state(state)  # what it has drawn is drawn again
        return losses(self.network, batch, targets, self.numbers, mean_count)


@dataclass(kw_only=True)
class Trainer:
    """The state of a training: what an iteration changes, and what it uses."""

    network: nn.Module
    """What is trained: a network of this package, or of torchvision."""

    config: TrainRequest
    """Every setting of the training."""
    schedule: Schedule
    """Iterations and rates."""

    numbers: TrainingNumbers
    """How many regions are sampled."""

    device: torch.device
    """Where the network is."""

    world: World
    """This process among all."""

    average: MovingAverage | None
    """Moving average of the weights; None without ``--ema``."""

    statement: str | None = None
    """What the files of weights say of the training; None for nothing."""

    operators: RegionOperators | None = None
    """Select the proposals of all images at once; None for one after the other."""

    notes: list[str] = field(default_factory=list)
    """Sentences about what is done otherwise than asked; more may come."""

    iteration: int = 0
    """Iterations that are finished."""

    is_whole: bool = True
    """Whether weights, optimiser and average are all those after ``iteration``: not in a step."""

    optimiser: torch.optim.Optimizer = field(init=False)
    """Of all parameters that are not frozen."""

    scaler: GradScaler = field(init=False)
    """Of losses in fp16; it does nothing in other precisions."""

    model: nn.Module = field(init=False)
    """The network with its losses, distributed over processes."""

    def __post_init__(self) -> None:
        asked = self.config.optimizer
        self.optimiser = make_optimiser(self.network, asked.optimiser, weight_decay_of(asked))
        half = self.config.runtime.precision == "fp16"
        self.scaler = GradScaler(self.device.type, enabled=half)
        self.model = _undistributed(self, self.world)
        if self.world.size > 1:
            self.model = DistributedDataParallel(self.model, broadcast_buffers=False)
        self._statistics = Statistics(self.network)

    def begin_iteration(self) -> None:
        """Keep what a forward pass changes, before it is one of the next iteration."""
        self._statistics.remember()

    def finish_iteration(self) -> None:
        """Let what the forward passes changed be part of the state after ``iteration``."""
        self._statistics.forget()
        self.is_whole = True

    def forget_iteration(self) -> bool:
        """Bring back the state after ``iteration``, when the next one or what is between failed.

        Returns:
            Whether it is that state: not where a step of the optimiser was begun.
        """
        if self.is_whole:
            self._statistics.restore()
        return self.is_whole


class Statistics:
    """What a forward pass of a training changes in a network: its running means."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._buffers = [
            buffer
            for module in network.modules()
            if isinstance(module, BatchNorm) and module.weight.requires_grad
            for buffer in module.buffers(recurse=False)
        ]
        self._kept: tuple[float | None, list[Tensor]] | None = None

    @torch.no_grad()
    def remember(self) -> None:
        """Keep them as they are."""
        self._kept = mean_positives_of(self._network), [one.clone() for one in self._buffers]

    def forget(self) -> None:
        """Keep nothing: what they are now is what they are to be."""
        self._kept = None

    @torch.no_grad()
    def restore(self) -> None:
        """Bring back what is kept; nothing is between two iterations."""
        if self._kept is None:
            return
        positives, buffers = self._kept
        remember_mean_positives(self._network, positives)
        for kept, buffer in zip(buffers, self._buffers, strict=True):
            buffer.copy_(kept)


def run_iteration(trainer: Trainer, samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Do one optimiser step.

    Args:
        trainer: It is changed.
        samples: This process's part of the batch.

    Returns:
        Losses and statistics for the log, scalars by name.

    Raises:
        RunFailedError: A loss is not finite. The weights are those of the last iteration.
    """
    trainer.begin_iteration()
    set_rate(trainer.optimiser, trainer.schedule.rate_at(trainer.iteration))
    trainer.optimiser.zero_grad(set_to_none=True)
    logged: dict[str, Tensor] = {}
    parts = _parts(samples, trainer.config.optimizer.accumulate)
    for number, part in enumerate(parts, start=1):
        with _silent_until_last(trainer, number == len(parts)):
            found, statistics = _losses(trainer, part)
            total = torch.stack(list(found.values())).sum()
            _require_finite(trainer, total, found, part)
            torch.autograd.backward(trainer.scaler.scale(total / len(parts)))
        for name, value in _fetched({**found, **statistics, "total_loss": total}).items():
            shared = value / len(parts)
            logged[name] = logged[name] + shared if name in logged else shared
    limit = trainer.config.optimizer.clip_gradients
    if limit is not None:
        trainer.scaler.unscale_(trainer.optimiser)
        nn.utils.clip_grad_norm_(trainer.network.parameters(), limit)
    trainer.is_whole = False
    trainer.scaler.step(trainer.optimiser)
    trainer.scaler.update()
    trainer.iteration += 1
    if trainer.average is not None:
        trainer.average.update(trainer.network)
    trainer.finish_iteration()
    return logged


@torch.no_grad()
def measure_losses(trainer: Trainer, batches: Iterator[list[Sample]]) -> dict[str, float]:
    """Return the mean losses over images that are not trained on.

    Args:
        trainer: It is not changed.
        batches: At least one.
    """
    sums: dict[str, float] = {}
    count = 0
    for samples in batches:
        found, _ = _losses(trainer, samples)
        found["total_loss"] = torch.stack(list(found.values())).sum()
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(samples)
        count += len(samples)
    return {name: value / count for name, value in sums.items()}


def _losses(trainer: Trainer, samples: Sequence[Sample]) -> Losses:
    """Return losses and statistics of some samples."""
    tensors = [_uploaded(one.pixels, trainer).permute(2, 0, 1) for one in samples]
    batch = _batch(trainer.network, tensors, samples[0].canvas)
    targets = [_targets(one, trainer) for one in samples]
    model = trainer.model if torch.is_grad_enabled() else _undistributed(trainer, World())
    with computing_in(trainer.config.runtime.precision, trainer.device):
        answer: Losses = model(batch, targets)
    return answer


def _batch(network: nn.Module, images: list[Tensor], canvas: tuple[int, int]) -> Batch | Pixels:
    """Return images as the network takes them; torchvision's normalises and pads them itself."""
    return network.batch(images, canvas) if isinstance(network, RCNN) else scaled(images)


def _undistributed(trainer: Trainer, world: World) -> nn.Module:
    """Return the network with its losses.

    Args:
        world: Processes over which counts of samples are averaged; torchvision counts for itself.
    """
    if isinstance(trainer.network, RCNN):
        numbers, operators = trainer.numbers, trainer.operators
        return LossModel(trainer.network, numbers, world, operators, notes=trainer.notes)
    return TorchvisionLosses(trainer.network)


def _targets(sample: Sample, trainer: Trainer) -> Targets:
    """Return the ground truth of a sample, with the random numbers of its region sampling."""
    drawn = generator(trainer.config.schedule.seed, SAMPLE, sample.ordinal).integers(2**63)

    def optional(values: npt.NDArray[Any] | None) -> Tensor | None:
        return None if values is None else _uploaded(values, trainer)

    return Targets(
        boxes=_uploaded(sample.boxes, trainer),
        classes=_uploaded(sample.classes, trainer),
        masks=sample.masks,
        generator=torch.Generator(trainer.device).manual_seed(int(drawn)),
        keypoints=optional(sample.keypoints),
        semantic=optional(sample.semantic),
        proposals=optional(sample.proposals),
    )


def _uploaded(values: npt.NDArray[Any], trainer: Trainer) -> Tensor:
    """Return values where the network is. The host does not wait until a GPU has them."""
    return torch.from_numpy(values).to(trainer.device, non_blocking=True)


def pinned(sample: Sample) -> Sample:
    """Return a sample with its pixels in memory from which a GPU fetches them by itself."""
    return replace(sample, pixels=torch.from_numpy(sample.pixels).pin_memory().numpy())


def pinning(device: torch.device) -> Callable[[Sample], Sample] | None:
    """Return what `samples.sample_batches` keeps the samples for a device by."""
    return pinned if device.type == "cuda" else None


def _fetched(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return scalars on the CPU. What is elsewhere comes in one copy: each waits for a GPU."""
    there = [name for name, value in values.items() if value.device.type != "cpu"]
    fetched = {name: value.detach() for name, value in values.items()}
    if there:
        together = torch.stack([fetched[name].float() for name in there]).cpu()
        fetched |= zip(there, together.unbind(), strict=True)
    return fetched


def _parts(samples: Sequence[Sample], count: int) -> list[Sequence[Sample]]:
    """Split samples into ``count`` equal parts."""
    size = len(samples) // count
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _silent_until_last(trainer: Trainer, last: bool) -> AbstractContextManager[None]:
    """Return a context that exchanges gradients between processes for the last part only."""
    if last or not isinstance(trainer.model, DistributedDataParallel):
        return nullcontext()
    silent: AbstractContextManager[None] = trainer.model.no_sync()
    return silent


def _require_finite(
    trainer: Trainer, total: Tensor, found: dict[str, Tensor], samples: Sequence[Sample]
) -> None:
    """Check the total loss.

    Raises:
        RunFailedError: It is not finite; the message names the losses and the images.
    """
    if bool(torch.isfinite(total)):
        return
    wrong = [name for name, value in found.items() if not bool(torch.isfinite(value))]
    images = ", ".join(str(one.image_id) for one in samples)
    raise RunFailedError(
        f"iteration {trainer.iteration + 1}: {', '.join(wrong)} is not finite, "
        f"on the images {images}",
        hint="lower --lr, or look at the annotations of these images: harness data check",
    )
