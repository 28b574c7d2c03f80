"""What a profile contains, and what follows from its numbers.

Amounts are recorded by stage: seconds, floating-point operations or bytes, whatever the meter
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.core.engine import EngineInfo

#: The stage of everything that belongs to no other.
REST = "rest"


class StageMeter:
    """A stopwatch whose stages may be nested: each is charged with its own part only.

    The amounts of all stages add up to what passed inside the outermost ones.

    Args:
        read: The meter, which never falls: a clock in seconds, a counter of operations.
        synchronize: Waits for the device; called before every reading, so that a stage is charged
            with its own work.
    """

    def __init__(self, read: Callable[[], float], synchronize: Callable[[], None]) -> None:
        self._read = read
        self._synchronize = synchronize
        self._open: list[str] = []
        self._last = 0.0
        self.amounts: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge a stage with what passes inside the block and inside no block within it.

        Args:
            name: Name of the stage; a name used twice adds up.
        """
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        """Give the innermost open stage what passed since the last reading."""
        self._synchronize()
        now = self._read()
        if self._open:
            inner = self._open[-1]
            self.amounts[inner] = self.amounts.get(inner, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One stage of inference, per image, without the stages inside it."""

    stage: str
    """Its name, as the engine's stopwatch has it."""

    seconds: float
    """Time of the stage."""

    flops: float
    """Floating-point operations of convolutions and matrix products; a multiply-add is two."""

    moved_bytes: float
    """Bytes read and written by tensor operators."""

    parameters: int
    """Learned numbers of the modules the stage runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One operator of PyTorch, per image, without the operators it calls."""

    operator: str
    """Its name, such as ``aten::convolution``."""

    calls: float
    """Calls per image."""

    cpu_s: float
    """Time on the CPU."""

    device_s: float
    """Time of its kernels on the GPU; 0 without one."""

    share: float
    """Share of the time of all operators, 0…1; of GPU time where there is a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The best rates measured on the device; ``engines.cost`` describes how."""

    flops_per_s: float
    """Of a matrix product at the run's precision."""

    bytes_per_s: float
    """Read and written by a copy."""

    product: str
    """Which of several ways to compute a product was the fastest."""

    copy: str
    """How large the copy was."""

    repeats: int
    """How often each was measured; the fastest counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """How much longer an image took under observation, as a share of the time without: 0.1 is 10
    %.
    """

    stages: float
    """With the clock read at every stage."""

    operators: float
    """With every operator traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of one image goes."""

    engine: EngineInfo
    """The engine that ran, with its device and precision."""

    images: int
    """Different images that were measured."""

    repeats: int
    """Times each image was timed."""

    traced_images: int
    """Images whose operators were traced."""

    seconds: float
    """Per image, on the same images in the same minutes, with nothing observed."""

    stages: tuple[StageCost, ...]
    """In network order."""

    operators: tuple[OperatorCost, ...]
    """The longest first."""

    peak: Peak
    """The device's measured best."""

    overhead: Overhead
    """The cost of observing."""

    method: tuple[str, ...]
    """How each of the numbers was measured, as sentences."""

    explanation: tuple[str, ...] = ()
    """The sentences that summarize the numbers."""


def whole(stages: tuple[StageCost, ...]) -> StageCost:
    """All stages as one."""
    return StageCost(
        stage="whole",
        seconds=sum(one.seconds for one in stages),
        flops=sum(one.flops for one in stages),
        moved_bytes=sum(one.moved_bytes for one in stages),
        parameters=sum(one.parameters for one in stages),
    )


def product_share(cost: StageCost, peak: Peak) -> float | None:
    """Operations a second as a share of the measured product's; None for a stage without any.

    Args:
        cost: Cost of one stage, or of all.
        peak: Measured peak of the same device and precision.
    """
    return cost.flops / cost.seconds / peak.flops_per_s if cost.flops and cost.seconds else None


def copy_share(cost: StageCost, peak: Peak) -> float | None:
    """Bytes a second as a share of the measured copy's; None for a stage that moves none.

    Above 1 where the caches hold the data: the copy is larger than they are, a stage's tensors need
    not be.

    Args:
        cost: Cost of one stage, or of all.
        peak: Measured peak of the same device.
    """
    if not cost.moved_bytes or not cost.seconds:
        return None
    return cost.moved_bytes / cost.seconds / peak.bytes_per_s


def least_seconds(cost: StageCost, peak: Peak) -> float:
    """Seconds a stage takes at least: its arithmetic or its copying at the device's best, the
    longer.

    Args:
        cost: Cost of one stage, or of all.
        peak: Measured peak of the same device and precision.
    """
    return max(cost.flops / peak.flops_per_s, cost.moved_bytes / peak.bytes_per_s)
