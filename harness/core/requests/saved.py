"""Predictions that are on disk already, to be scored, analyzed or diagnosed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.core.errors import UsageError
from harness.core.settings import setting


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
            return self.run
        if self.predictions is None or self.annotations is None:
            raise UsageError(
                f"nothing to {verb}", hint="give a run folder, or --predictions with --annotations"
            )
        return self.predictions, self.annotations
