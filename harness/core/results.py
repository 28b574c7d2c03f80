"""What a finished run is for whoever started it: its record, and where its files are.

A run of ``harness predict`` has no record: what it leaves is a report beside its pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.checks import Check, Verdict
from harness.core.engine import EngineInfo
from harness.core.errors import UsageError
from harness.core.printable import counted
from harness.core.record import CategoryScore, CheckpointFacts, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunResult:
    """A finished evaluation, benchmark or training."""

    record: RunRecord
    """Everything the run found, as ``record.json`` has it."""

    folder: Path
    """The run folder."""

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Every number by name: ``bbox/AP`` (0-100), ``fps``, …; None could not be computed."""
        return self.record.metrics

    @property
    def per_category(self) -> tuple[CategoryScore, ...]:
        """AP of each category and task."""
        return self.record.per_category

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every number beside its reference."""
        return self.record.checks

    @property
    def verdict(self) -> Verdict:
        """What all checks say together."""
        return self.record.verdict

    @property
    def passed(self) -> bool:
        """Whether no check failed; also when there was nothing to compare with."""
        return self.record.verdict.outcome != "fail"

    @property
    def predictions_path(self) -> Path:
        """``predictions.json`` of an evaluation, in COCO's results format."""
        return self.path_of("predictions")

    @property
    def per_category_path(self) -> Path:
        """``per_category.csv`` of an evaluation."""
        return self.path_of("per_category")

    def path_of(self, artefact: str) -> Path:
        """The file or folder of the run that the record calls ``artefact``.

        Raises:
            UsageError: The run has none of this name; with the names it has.
        """
        if artefact not in self.record.artefacts:
            raise UsageError(
                f"{self.folder} has no {artefact}; it has: {', '.join(self.record.artefacts)}"
            )
        return self.folder / self.record.artefacts[artefact]

    def __repr__(self) -> str:
        """Run id, verdict and folder."""
        return f"<RunResult {self.record.run_id}: {self.verdict.line} ({self.folder})>"


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCount:
    """How many detections there are of a category, over all pictures."""

    category_id: int
    """Id of the category."""

    name: str
    """Name of the category."""

    detections: int
    """Number of detections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that is not a picture, and why."""

    file: str
    """Path of the file."""

    reason: str
    """Why it could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PredictReport:
    """``predict.json``, written last."""

    schema_version: Literal[1] = 1
    """Version of the file format."""

    harness_version: str
    """Version of harness that wrote it."""

    command: tuple[str, ...]
    """Command line."""

    output: str
    """Folder of the results."""

    model: str
    """Name of the model entry."""

    checkpoint: CheckpointFacts
    """The weights."""

    engine: EngineInfo
    """The engine."""

    style: dict[str, Any]
    """How detections are drawn."""

    images_dir: str
    """Folder that file names are relative to."""

    images: int
    """Number of images that were read."""

    detections: int
    """Number of detections."""

    threshold: float
    """Lowest score of a detection."""

    mean_masked_share: float | None
    """Mean share of pixels under a mask, 0-1; None without masks."""

    by_category: tuple[CategoryCount, ...]
    """Counts by category."""

    unreadable: tuple[Unreadable, ...]
    """Files that could not be read."""

    notes: tuple[str, ...] = ()
    """What an evaluation reads differently, one sentence a kind."""

    predictions: str
    """File of the detections."""

    page: str | None
    """File of the page; None when no images were drawn."""

    def __repr__(self) -> str:
        """What was found, and where it is."""
        found = f"{counted(self.detections, 'object')} in {counted(self.images, 'image')}"
        return f"<PredictReport of {self.model}: {found} ({self.output})>"
