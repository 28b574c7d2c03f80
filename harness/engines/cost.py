"""What a network costs on some images: learned numbers, arithmetic and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from torch.utils.flop_counter import FlopCounterMode

from harness.core.detections import Image
from harness.core.engine import Engine
from harness.engines.flops import fused_convolutions
from harness.engines.observed import parameters_by_stage
from harness.measure.timing import NULL_STOPWATCH


class Cost(NamedTuple):
    """Of one image."""

    parameters: int
    """Learned numbers of the network."""

    flops: float
    """Convolutions and matrix products, a multiply-add is two; mean over the images."""

    seconds: float
    """From the resized image to encoded detections; median over the images, the engine warm."""


def cost_of(engine: Engine, images: Sequence[Image], *, clock: Callable[[], float]) -> Cost:
    """Return the cost of an engine's network.

    Args:
        engine: With a network.
        images: One or more; each is inferred alone.
        clock: Returns seconds.

    Raises:
        UsageError: The engine has no network.
    """
    prepared = [engine.prepare(image, NULL_STOPWATCH) for image in images]
    parameters = sum(parameters_by_stage(engine).values())
    with FlopCounterMode(display=False, custom_mapping=fused_convolutions()) as counter:
        for one in prepared:
            engine.infer([one], NULL_STOPWATCH)
    engine.infer([prepared[0]], NULL_STOPWATCH)
    times = []
    for one in prepared:
        engine.settle()
        begun = clock()
        engine.infer([one], NULL_STOPWATCH)
        engine.settle()
        times.append(clock() - begun)
    return Cost(parameters, counter.get_total_flops() / len(prepared), median(times))
