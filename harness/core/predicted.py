"""What ``harness predict`` leaves, beside its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.core.engine import EngineInfo
from harness.core.record import CheckpointFacts


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


@dataclass(frozen=True, slots=True, kw_only=True)
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
