"""What a training says of the weights that it left, in the file beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.files.json import read

#: What a training leaves beside its weights.
TRAINING = "run.json"

#: Annotations that a training names there: of boxes and masks, and of every pixel.
DETECTION, PANOPTIC = "detection", "panoptic"


def learned_from(weights: Path | None, part: str = DETECTION) -> Path | None:
    """The annotation file of the training whose folder has ``weights``.

    Args:
        weights: A file of weights; None for the pinned ones.
        part: ``DETECTION`` or ``PANOPTIC`` annotations.

    Returns:
        None where no training left the file, or its annotations are no longer there.
    """
    run = _training_beside(weights)
    facts = None if run is None else run["dataset"]
    if facts is not None and part == PANOPTIC:
        facts = facts.get("panoptic")
    annotations = None if facts is None else Path(facts["annotations_path"])
    return annotations if annotations is not None and annotations.is_file() else None


def short_edge_learned(weights: Path | None) -> int | None:
    """The short edge of images that the training whose folder has ``weights`` was asked for, in px.

    Args:
        weights: A file of weights; None for the pinned ones.

    Returns:
        None where no training left the file, or it kept the model's own.
    """
    run = _training_beside(weights)
    asked = None if run is None else run.get("request")
    short = asked.get("short_edge_px") if isinstance(asked, dict) else None
    return short if isinstance(short, int) else None


def _training_beside(weights: Path | None) -> Mapping[str, Any] | None:
    """What ``run.json`` says where it is of the training that left ``weights``."""
    if weights is None or not (weights.parent / TRAINING).is_file():
        return None
    run = read(weights.parent / TRAINING)
    return run if isinstance(run, dict) and run.get("kind") == "train" else None
