"""A sweep over settings: what a cell of it is, and which cell to recommend.

A cell is compared with the reference cell, which computes the way the published numbers ask for:
fp32, one image at a time, nothing compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.core.engine import EngineInfo, MemoryFormat, Precision
from harness.core.record import CheckpointFacts, DatasetFacts, Environment
from harness.measure.bootstrap import Interval

CellStatus = Literal["measured", "skipped", "failed"]

#: One image at a time, as accuracy is judged; or several.
Mode = Literal["verdict", "throughput"]
MODES: tuple[Mode, ...] = ("verdict", "throughput")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a sweep varies."""

    precision: Precision
    memory_format: MemoryFormat
    compile: bool
    batch_size: int

    @property
    def name(self) -> str:
        """Readable, and good as the name of a folder."""
        compiled = "-compiled" if self.compile else ""
        return f"{self.precision}-{self.memory_format}{compiled}-b{self.batch_size}"

    @property
    def mode(self) -> Mode:
        """Which recommendation the setting competes for."""
        return "verdict" if self.batch_size == 1 else "throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A cell's pure compute and its memory.

    ratio: times as fast as the reference cell, the median over passes that were timed in turn.
    latency: seconds from a batch's transfer to its pasted masks, which each of its images waits.
    peak_memory_bytes: on a GPU what torch allocated, on a CPU the whole process. first_answer_s:
    to open the engine and answer one batch, compilation included. passes: of the timed images.
    """

    engine: EngineInfo
    fps: float
    ratio: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p99_s: float
    peak_memory_bytes: int
    first_answer_s: float
    passes: int
    timed_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One setting. ap, delta: by metric (``bbox/AP``), AP points; None where there is no AP.

    delta: to the reference cell on the same images, with a paired interval over them. reason: why
    there are no numbers.
    """

    setting: Setting
    status: CellStatus
    reason: str = ""
    speed: Speed | None = None
    ap: dict[str, float | None]
    delta: dict[str, Interval | None]

    @property
    def cost_ap(self) -> float | None:
        """AP points lost against the reference, of the task that loses most; negative for a gain.

        None where a task has no AP, or there are no tasks.
        """
        known = [one for one in self.delta.values() if one is not None]
        if not known or len(known) < len(self.delta):
            return None
        return max(-one.difference for one in known)

    @property
    def worst_cost_ap(self) -> float | None:
        """The same at the unlucky end of the intervals."""
        if self.cost_ap is None:
            return None
        return max(-one.low for one in self.delta.values() if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The setting to use in a mode; None where none of the mode is inside the tolerance.

    certain: the whole interval is inside, not only the difference.
    """

    mode: Mode
    setting: Setting | None
    certain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep leaves behind, as ``sweep.json``.

    cells: the reference first. tolerance_ap: AP points that a recommended setting may cost.
    """

    schema_version: Literal[1] = 1
    run_id: str
    created_utc: str
    harness_version: str
    command: tuple[str, ...]
    request: dict[str, Any]
    model: str
    checkpoint: CheckpointFacts | None
    dataset: DatasetFacts
    environment: Environment
    tolerance_ap: float
    cells: tuple[SweepCell, ...]
    choices: tuple[Choice, ...]

    @property
    def reference(self) -> SweepCell:
        """The cell all others are compared with."""
        return self.cells[0]

    @property
    def measured(self) -> tuple[SweepCell, ...]:
        """The cells that have numbers, in order."""
        return tuple(one for one in self.cells if one.speed is not None)


def recommend(cells: Sequence[SweepCell], tolerance_ap: float) -> tuple[Choice, ...]:
    """For each mode that was measured, the fastest setting that costs at most ``tolerance_ap``.

    Faster means a higher ratio to the reference, which a machine that slows down in between does
    not bend; of equal ones the first wins.
    """
    choices = []
    for mode in MODES:
        measured = [one for one in cells if one.speed is not None and one.setting.mode == mode]
        if not measured:
            continue
        inside = [one for one in measured if _within(one.cost_ap, tolerance_ap)]
        best = max(inside, key=_ratio, default=None)
        certain = best is not None and _within(best.worst_cost_ap, tolerance_ap)
        setting = None if best is None else best.setting
        choices.append(Choice(mode=mode, setting=setting, certain=certain))
    return tuple(choices)


def _within(cost_ap: float | None, tolerance_ap: float) -> bool:
    return cost_ap is not None and cost_ap <= tolerance_ap


def _ratio(cell: SweepCell) -> float:
    assert cell.speed is not None
    return cell.speed.ratio
