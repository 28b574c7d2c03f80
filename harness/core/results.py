"""What a finished run is for whoever started it: its record, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.checks import Check, Verdict
from harness.core.errors import UsageError
from harness.core.record import CategoryScore, RunRecord


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
