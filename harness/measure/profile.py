"""What a profile holds, and what follows from its numbers.

Amounts are booked by stage: seconds, floating-point operations or bytes, whatever the meter counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.core.engine import EngineInfo

#: The stage of everything that belongs to no other.
REST = "rest"


class StageMeter:
    """A stopwatch whose stages may lie inside each other: each is charged with its own part only.

    read: the meter, which never falls: a clock in seconds, a counter of operations. settle: waits
    for the device; called before every reading, so that a stage is charged with its own work.
    The amounts of all stages add up to what passed inside the outermost ones.
    """

    def __init__(self, read: Callable[[], float], settle: Callable[[], None]) -> None:
        self._read = read
        self._settle = settle
        self._open: list[str] = []
        self._last = 0.0
        self.amounts: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge ``name`` with what passes inside the block and inside no block within it."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        """Give the innermost open stage what passed since the last reading."""
        self._settle()
        now = self._read()
        if self._open:
            inner = self._open[-1]
            self.amounts[inner] = self.amounts.get(inner, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One stage of inference, per image, without the stages inside it.

    flops: of convolutions and matrix products, a multiply-add is two. moved_bytes: read and written
    by tensor operators. parameters: learned numbers of the modules the stage runs.
    """

    stage: str
    seconds: float
    flops: float
    moved_bytes: float
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One operator of PyTorch, per image, without the operators it calls.

    cpu_s: time on the CPU. device_s: time of its kernels on the GPU, 0 without one. share: of the
    time of all operators, on the GPU where there is one.
    """

    operator: str
    calls: float
    cpu_s: float
    device_s: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What the device was measured to do at its best; how, says ``engines.peak``.

    flops_per_s: of a matrix product at the run's precision. bytes_per_s: read and written by a
    copy. product: which of several ways to a product was the fastest. copy: how large it was.
    """

    flops_per_s: float
    bytes_per_s: float
    product: str
    copy: str
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """How much longer an image took under observation, as a share of the time without (0.1: 10 %).

    stages: with the clock read at every stage. operators: with every operator traced.
    """

    stages: float
    operators: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of one image goes. Stages in network order; operators, the longest first.

    images: different ones that were looked at. repeats: times each was timed. seconds: per image,
    on the same images in the same minutes, with nothing observed. explanation: the sentences that
    the numbers come down to. method: how each of the numbers was got.
    """

    engine: EngineInfo
    images: int
    repeats: int
    traced_images: int
    seconds: float
    stages: tuple[StageCost, ...]
    operators: tuple[OperatorCost, ...]
    peak: Peak
    overhead: Overhead
    method: tuple[str, ...]
    explanation: tuple[str, ...] = ()


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
    """Operations a second as a share of the measured product's; None for a stage without any."""
    return cost.flops / cost.seconds / peak.flops_per_s if cost.flops and cost.seconds else None


def copy_share(cost: StageCost, peak: Peak) -> float | None:
    """Bytes a second as a share of the measured copy's; None for a stage that moves none.

    Above 1 where the caches answer: the copy is larger than they are, a stage's tensors need not.
    """
    if not cost.moved_bytes or not cost.seconds:
        return None
    return cost.moved_bytes / cost.seconds / peak.bytes_per_s


def least_seconds(cost: StageCost, peak: Peak) -> float:
    """Time the stage would take at the peak: of its arithmetic or of its copying, the longer."""
    return max(cost.flops / peak.flops_per_s, cost.moved_bytes / peak.bytes_per_s)
