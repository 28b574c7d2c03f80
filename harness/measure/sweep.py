"""A sweep over settings: its cells, and which cell to recommend.

A cell is compared with the reference cell, which computes the way the published numbers require:
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
    """Of the network's arithmetic."""

    memory_format: MemoryFormat
    """Order of the network's tensors in memory."""

    compile: bool
    """By torch.compile."""

    batch_size: int
    """Images a batch, from 1."""

    @property
    def name(self) -> str:
        """The setting in one word, valid as the name of a folder: ``fp32-contiguous-b1``."""
        compiled = "-compiled" if self.compile else ""
        return f"{self.precision}-{self.memory_format}{compiled}-b{self.batch_size}"

    @property
    def mode(self) -> Mode:
        """Which recommendation the setting competes for."""
        return "verdict" if self.batch_size == 1 else "throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A cell's pure compute and its memory."""

    engine: EngineInfo
    """The engine that ran."""

    fps: float
    """Images a second."""

    ratio: float
    """Times as fast as the reference cell: the median over passes that were timed in turn."""

    latency_p50_s: float
    """Median seconds from a batch's transfer to its pasted masks; each of its images waits so long.
    """

    latency_p90_s: float
    """90 % of the batches took at most so long."""

    latency_p99_s: float
    """99 % of the batches took at most so long."""

    peak_memory_bytes: int
    """On a GPU what torch allocated, on a CPU the whole process."""

    first_answer_s: float
    """Seconds to open the engine and run one batch, compilation included."""

    passes: int
    """Passes over the timed images."""

    timed_images: int
    """Images of each pass."""

    notes: tuple[str, ...] = ()
    """What the engine did otherwise than asked, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One setting, with what was measured."""

    setting: Setting
    """Of the cell."""

    status: CellStatus
    """Whether it was measured."""

    reason: str = ""
    """Why there are no numbers; empty where there are."""

    speed: Speed | None = None
    """None where it was not measured."""

    ap: dict[str, float | None]
    """By metric (``bbox/AP``), AP points; None where there is no AP."""

    delta: dict[str, Interval | None]
    """By metric: the difference to the reference cell on the same images, with a paired interval
    over them; None where there is no AP.
    """

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
        """The same at the unfavourable end of the intervals."""
        if self.cost_ap is None:
            return None
        return max(-one.low for one in self.delta.values() if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The setting to use in a mode."""

    mode: Mode
    """One image at a time, or several."""

    setting: Setting | None
    """None where no setting of the mode is within the tolerance."""

    certain: bool = False
    """The whole interval is within the tolerance, not only the difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The results of a sweep, as in ``sweep.json``."""

    schema_version: Literal[1] = 1
    """Of the file."""

    run_id: str
    """Name of the run's folder."""

    created_utc: str
    """Start, ISO 8601."""

    harness_version: str
    """Of this package."""

    command: tuple[str, ...]
    """The command line."""

    request: dict[str, Any]
    """The settings that were given, as JSON."""

    model: str
    """Name of the model."""

    checkpoint: CheckpointFacts | None
    """None where the engine has none."""

    dataset: DatasetFacts
    """The images that were measured."""

    environment: Environment
    """Machine and versions."""

    tolerance_ap: float
    """AP points that a recommended setting may cost."""

    cells: tuple[SweepCell, ...]
    """The reference first."""

    choices: tuple[Choice, ...]
    """One a mode that was measured."""

    @property
    def reference(self) -> SweepCell:
        """The cell all others are compared with."""
        return self.cells[0]

    @property
    def measured(self) -> tuple[SweepCell, ...]:
        """The cells that have numbers, in order."""
        return tuple(one for one in self.cells if one.speed is not None)


def recommend(cells: Sequence[SweepCell], tolerance_ap: float) -> tuple[Choice, ...]:
    """For each mode that was measured, the fastest setting within a tolerance.

    Faster means a higher ratio to the reference, which a machine that slows down in between does
    not change; of equal ones the first wins.

    Args:
        cells: Measured or not; those without numbers are ignored.
        tolerance_ap: AP points that a recommended setting may cost at most.
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
