"""What a user asks for to understand a number: an analysis, or the report of a run.

Analyzed, scored and diagnosed are predictions that are on disk already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.errors import UsageError
from harness.core.settings import part, setting

ClassIds = Literal[
    "auto",
    "ids",
    "index-from-0",
    "index-from-1",
    "file-order",
    "id-plus-1",
    "id-minus-1",
    "coco-ids",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignOptions:
    """What a file of predictions cannot say of itself."""

    group: ClassVar[str] = "which predictions"

    class_ids: ClassIds = setting(
        "auto",
        help="what the category ids of a file of predictions are; auto: what is certain",
        metavar="KIND",
    )

    def require_none(self) -> None:
        """Check that nothing is said of files, for a run's own predictions are known.

        Raises:
            UsageError: Something is.
        """
        if self.class_ids != "auto":
            raise UsageError(
                "--class-ids belongs to files of predictions; those of a run are category ids",
                hint="leave it out, or name the file: --predictions RUN/predictions.json",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPredictions:
    """The predictions of a run, or of a file with its annotations."""

    group: ClassVar[str] = "which predictions"

    run: Path | None = setting(
        None,
        help="run folder of harness eval, whose record names the data set",
        positional=True,
        none="--predictions with --annotations",
    )
    predictions: Path | None = setting(
        None, help="file of predictions, of COCO's form or another program's", none="the run's"
    )
    annotations: Path | None = setting(None, help="COCO annotation file", none="the run's")
    foreign: ForeignOptions = part(ForeignOptions)

    def source(self, verb: str) -> Path | tuple[Path, Path]:
        """The run folder, or the file of predictions and that of annotations.

        Args:
            verb: What is to be done with them, for the error.

        Raises:
            UsageError: Neither a run nor both files are given, or a run and a file of predictions.
        """
        if self.run is not None:
            if self.predictions is not None:
                raise UsageError("give a run folder, or --predictions with --annotations, not both")
            self.foreign.require_none()
            return self.run
        if self.predictions is None or self.annotations is None:
            raise UsageError(
                f"nothing to {verb}", hint="give a run folder, or --predictions with --annotations"
            )
        return self.predictions, self.annotations


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
        None, help="file of the page", none="report.html in the run", metavar="FILE", kept=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """Where else a finished run goes."""

    group: ClassVar[str] = "the run"

    track: tuple[TrackerName, ...] = setting(
        (),
        help="give the finished run to trackers as well",
        none="none",
        metavar="NAME,…",
        kept=False,
        numbers=False,
    )
