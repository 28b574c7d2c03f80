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
    name: str
    detections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that is no picture, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """``predict.json``, written last.

    output: the folder. images_dir: what file names are relative to. images: pictures that were
    read. threshold: no detection scores less. predictions, page: files in the folder; page is None
    where no pictures were drawn. notes: what an evaluation would see otherwise, a sentence
    a kind.
    """

    schema_version: Literal[1] = 1
    harness_version: str
    command: tuple[str, ...]
    output: str
    model: str
    checkpoint: CheckpointFacts
    engine: EngineInfo
    style: dict[str, Any]
    images_dir: str
    images: int
    detections: int
    threshold: float
    mean_masked_share: float | None
    by_category: tuple[CategoryCount, ...]
    unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...] = ()
    predictions: str
    page: str | None
