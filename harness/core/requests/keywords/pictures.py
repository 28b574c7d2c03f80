"""Keywords of the Python API: settings of ``pictures``.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from harness.core.requests.keywords.drawing import DrawingStyleKeys
from harness.core.requests.keywords.inference import (
    EngineOptionsKeys,
    ModelSpecKeys,
    RecipeOverridesKeys,
)
from harness.core.requests.keywords.reports import ForeignOptionsKeys


class PredictSettings(
    ModelSpecKeys,
    EngineOptionsKeys,
    RecipeOverridesKeys,
    DrawingStyleKeys,
    total=False,
):
    """Keywords of `predict`, those of `PredictRequest`."""

    annotations: str | Path | None
    """COCO annotation file with the categories that --weights learned (default: the model's
    own)."""

    panoptic: str | Path | None
    """Panoptic annotation file with the kinds of stuff that --weights learned (default: the model's
    own)."""

    output: str | Path | None
    """Run folder (default: results/runs/<run id>)."""

    pictures: Literal["jpg", "png", "none"]
    """Format of the drawings; none: do not draw (default: jpg)."""

    resume: bool
    """Continue an unfinished run."""


class ShowSettings(ForeignOptionsKeys, DrawingStyleKeys, total=False):
    """Keywords of `show`, those of `ShowRequest`."""

    annotations: str | Path | None
    """COCO annotation file (default: the run's)."""

    images: str | Path | None
    """Folder of the images that the annotation file lists (default: the run's)."""

    predictions: str | Path | None
    """COCO results file, to be shown beside the annotations (default: the run's)."""

    task: Literal["bbox", "segm", "keypoints", "panoptic_seg"]
    """What has to overlap for a true positive; panoptic_seg shows the maps of a run (default:
    bbox)."""

    sample: int | None
    """N images at random (default: all)."""

    seed: int
    """Seed of the random choice (default: 0)."""

    image_ids: Iterable[int]
    """These images (default: all)."""

    most: int | None
    """Draw at most this many images, the worst; 0 for all (default: 200, or all that --sample or
    --image chose)."""

    select: bool
    """Offer to tick images, and to save their names for harness data subset --names."""

    output: str | Path | None
    """Folder of the pictures (default: show in the run, or results/pictures/<name>)."""


class CompareSettings(ForeignOptionsKeys, total=False):
    """Keywords of `compare`, those of `CompareRequest`."""

    annotations: str | Path | None
    """COCO annotation file that files of predictions are scored against (default: the runs')."""

    resamples: int
    """Draws of the paired bootstrap; 0 for none (default: 200)."""

    html: str | Path | None
    """Also write a page with pictures (default: no page)."""

    threshold: float
    """Lowest score that is drawn on the page's pictures (default: 0.5)."""
