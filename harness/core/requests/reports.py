"""What a user asks for to understand a number: an analysis, or the report of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.requests.saved import SavedPredictions
from harness.core.settings import part, setting

TrackerName = Literal["mlflow", "wandb", "tensorboard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeRequest:
    """Errors, curves, thresholds and confusions of a run, or of a file with its annotations."""

    group: ClassVar[str] = "what to analyze"

    saved: SavedPredictions = part(SavedPredictions, group="what to analyze")
    threshold: float = setting(
        0.5,
        help="score from which detections count for confusions and for the errors of an image",
        minimum=0,
        maximum=1,
    )
    boundary: bool = setting(
        False, help="also compute AP of the masks' boundaries, for information"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """The page of a finished evaluation, made again."""

    group: ClassVar[str] = "which run"

    run: Path = setting(help="run folder of harness eval", positional=True)
    output: Path | None = setting(
        None, help="the page", none="report.html in the run", metavar="FILE", kept=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """Where else a finished run goes."""

    group: ClassVar[str] = "the run"

    track: tuple[TrackerName, ...] = setting(
        (),
        help="give the finished run to trackers as well: mlflow, wandb, tensorboard",
        none="none",
        metavar="NAME,…",
        kept=False,
        numbers=False,
    )
