"""The schedule: iterations, batch size and learning rates, also on other hardware than published.

The published recipes are for a batch of 16 images. With another batch the learning rate changes in
proportion (linear scaling, Goyal et al. 2017) and everything counted in iterations in the inverse,
so that the same number of images is seen. Overriding one without the other is a usual reason for
an unexplained AP; the plan warns of it before the start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from harness.core.errors import UsageError
from harness.core.model import TrainRecipe
from harness.core.requests.training import Optimiser, OptimizerConfig, ScheduleConfig
from harness.core.settings import check_settings

#: SOLVER of Detectron2's configs/Base-RCNN-FPN.yaml and config/defaults.py.
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
WARMUP_ITERATIONS = 1000
WARMUP_FACTOR = 1e-3
STEP_FACTOR = 0.1
CHECKPOINT_PERIOD = 5000

#: Evaluations of a training, and the least iterations between two of them.
EVALUATIONS_A_TRAINING = 10
LEAST_BETWEEN_EVALUATIONS = 20

#: Least iterations between two checkpoints, unless ``--checkpoint-every`` sets them.
LEAST_BETWEEN_CHECKPOINTS = 100

#: Passes over data of one's own that a fine-tuning usually takes; beyond this the plan warns.
MANY_EPOCHS = 500

#: AdamW for Mask R-CNN at a batch of 16: open-mmlab/mmdetection@fff646d3
#: ``configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py``.
ADAMW_RATE = 1e-4
ADAMW_BATCH_SIZE = 16
ADAMW_WEIGHT_DECAY = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long is trained at which rate. Counts are in iterations, over all processes together."""

    iterations: int
    """Optimiser steps of the whole training."""

    batch_size: int
    """Images an iteration, over all processes."""

    learning_rate: float
    """After the warm-up."""

    steps: tuple[int, ...]
    """Iterations at which the rate is multiplied by STEP_FACTOR."""

    warmup: int
    """Iterations in which the rate rises."""

    checkpoint_period: int
    """Iterations between two checkpoints of Detectron2's trainer; the native one saves by time."""

    @property
    def images_seen(self) -> int:
        """Images the whole schedule trains on, repeats counted."""
        return self.iterations * self.batch_size

    def rate_at(self, iteration: int) -> float:
        """Return the learning rate of ``iteration``, from 0 (Detectron2's WarmupMultiStepLR)."""
        rate = self.learning_rate * STEP_FACTOR ** sum(iteration >= step for step in self.steps)
        if iteration >= self.warmup:
            return rate
        share = iteration / self.warmup
        return rate * (WARMUP_FACTOR * (1 - share) + share)


def weight_decay_of(optimizer: OptimizerConfig) -> float:
    """Return the weight decay that is set, or the optimiser's default."""
    if optimizer.weight_decay is not None:
        return optimizer.weight_decay
    return WEIGHT_DECAY if optimizer.optimiser == "sgd" else ADAMW_WEIGHT_DECAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A schedule and what it was derived from."""

    schedule: Schedule
    """What is trained."""

    published: Schedule
    """The recipe's schedule."""

    warnings: tuple[str, ...]
    """Sentences for the user before the start."""

    @property
    def share_of_published(self) -> float:
        """Images seen, as a share of the published schedule."""
        return self.schedule.images_seen / self.published.images_seen


#: Iterations and steps of the zoo's named schedules, at a batch of 16.
NAMED = {"1x": (90_000, (60_000, 80_000)), "3x": (270_000, (210_000, 250_000))}


def published_schedule(recipe: TrainRecipe, named: str | None = None) -> Schedule:
    """Return a recipe of the lock file as a schedule.

    Args:
        recipe: Recipe of the model.
        named: ``1x`` or ``3x`` for another length; None keeps the recipe's.
    """
    iterations, steps = (recipe.iterations, recipe.steps) if named is None else NAMED[named]
    return Schedule(
        iterations=iterations,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        steps=steps,
        warmup=WARMUP_ITERATIONS,
        checkpoint_period=CHECKPOINT_PERIOD,
    )


def make_plan(
    published: Schedule,
    asked: ScheduleConfig,
    optimiser: Optimiser = "sgd",
    *,
    image_count: int | None = None,
    own_data: bool = False,
) -> Plan:
    """Adapt a schedule to another batch size, length or rate.

    Args:
        published: What is adapted.
        asked: The settings; one that is not given follows from the batch size.
        optimiser: The published rate is SGD's; AdamW has its own.
        image_count: Training images that have an object; None where they are not known.
        own_data: Whether other data are learned than the published: then no length is published.

    Raises:
        UsageError: A setting is invalid, or epochs are counted without knowing the images.
    """
    check_settings(asked)
    batch = asked.batch_size or published.batch_size
    iterations, learning_rate = _iterations(asked, batch, image_count), asked.learning_rate
    ratio = batch / published.batch_size
    rule = (published.learning_rate, published.batch_size)
    if optimiser == "adamw":
        rule = (ADAMW_RATE, ADAMW_BATCH_SIZE)
    scaled_iterations = max(1, round(published.iterations / ratio))
    count = iterations or scaled_iterations
    stretch = count / published.iterations
    schedule = Schedule(
        iterations=count,
        batch_size=batch,
        learning_rate=learning_rate or rule[0] * batch / rule[1],
        steps=tuple(round(step * stretch) for step in published.steps),
        # A short run must not end inside its warm-up.
        warmup=min(round(published.warmup / ratio), max(1, count // 10)),
        checkpoint_period=max(
            LEAST_BETWEEN_CHECKPOINTS,
            round(published.checkpoint_period * min(stretch, 1 / ratio)),
        ),
    )
    length = (
        _own_data_warnings(schedule, image_count)
        if own_data
        else _length_warnings(published, schedule, iterations)
    )
    warnings = (*length, *_rate_warnings(schedule, rule, own_data=own_data))
    return Plan(schedule=schedule, published=published, warnings=warnings)


def evaluation_period(iterations: int) -> int:
    """Return the iterations between evaluations of a training that does not set them."""
    return max(LEAST_BETWEEN_EVALUATIONS, math.ceil(iterations / EVALUATIONS_A_TRAINING))


def _iterations(asked: ScheduleConfig, batch_size: int, image_count: int | None) -> int | None:
    """Return the iterations that are set, also as epochs; None where neither is.

    Raises:
        UsageError: Both are set, or the images of an epoch are not known.
    """
    if asked.epochs is None:
        return asked.iterations
    if asked.iterations is not None:
        raise UsageError("give --epochs or --iterations, not both")
    if image_count is None:
        raise UsageError(
            f"--epochs {asked.epochs:g}: how many images an epoch has is not known without the "
            "training data",
            hint="give --train-annotations and --train-images, or --iterations",
        )
    return max(1, math.ceil(asked.epochs * image_count / batch_size))


def _length_warnings(
    published: Schedule, chosen: Schedule, iterations: int | None
) -> Iterator[str]:
    """Yield a sentence on a length that is set and is not the published one."""
    share = chosen.images_seen / published.images_seen
    if iterations is not None and abs(share - 1) > 0.01:
        yield (
            f"--iterations {iterations} with batch {chosen.batch_size} sees "
            f"{chosen.images_seen:,} images, {share:.3g} of the published schedule "
            f"({published.images_seen:,}); all of it: --iterations "
            f"{round(published.images_seen / chosen.batch_size)}"
        )


def _own_data_warnings(chosen: Schedule, image_count: int | None) -> Iterator[str]:
    """Yield a sentence on a length that was published for far more images."""
    if image_count is None:
        return
    epochs = chosen.images_seen / image_count
    if epochs > MANY_EPOCHS:
        yield (
            f"{chosen.iterations:,} iterations are {epochs:,.0f} epochs of your {image_count:,} "
            "images; fine-tuning usually takes tens: --epochs 30, or --iterations"
        )


def _rate_warnings(chosen: Schedule, rule: tuple[float, int], *, own_data: bool) -> Iterator[str]:
    """Yield a sentence on a rate that does not follow from the batch size.

    Args:
        chosen: The schedule.
        rule: A learning rate, and the batch size it is for.
        own_data: Whether a model is fine-tuned, which usually takes a lower rate.
    """
    rate, batch_size = rule
    scaled_rate = rate * chosen.batch_size / batch_size
    times = chosen.learning_rate / scaled_rate
    if times > 2 or (times < 0.5 and not own_data):
        yield (
            f"--lr {chosen.learning_rate:g} is {times:.3g} times the rate that "
            f"batch {chosen.batch_size} calls for ({scaled_rate:g} = {rate:g} × "
            f"{chosen.batch_size}/{batch_size})"
        )
